package jobworker

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// Stream is the output of a job, over as many calls as it takes: where one breaks, because the
// connection did, the server's API was started anew or we were too slow for it, the next goes on at the
// same byte. Each message's offset is checked against what it must be, so no byte is missing or comes
// twice. It gives up after 30 s without the server.
//
// Take the bytes with Read or the pieces with Chunks, in one goroutine; Close may come from another.
type Stream struct {
	ctx      context.Context
	cancel   context.CancelFunc
	service  jobworkerv1.JobServiceClient
	patience patience
	trials   trials

	// What is asked for next: its offset is where the stream stands, with all bytes before it handed on.
	// The place of a tail or a time is for the server to find, and known from the first message on.
	request *jobworkerv1.GetJobsStreamRequest
	call    grpc.ServerStreamingClient[jobworkerv1.GetJobsStreamResponse]

	pending []Chunk
	unread  []byte
	missing []*jobworkerv1.TruncatedRange
	result  *Job
	err     error
}

// Chunk is a piece of output, or a range that the server does not have any more.
type Chunk struct {
	// Offset counts the bytes of stdout and stderr together.
	Offset int64
	// Data is cut anywhere, and empty where Truncated is set.
	Data []byte
	// Source is which of its streams the job wrote Data to.
	Source jobworkerv1.OutputSource
	// Time is when the server read the first byte of Data from the job; the others within 10 ms.
	Time time.Time
	// Truncated says which bytes are missing and why. Nil where Data is set.
	Truncated *jobworkerv1.TruncatedRange
}

// Read returns the bytes of the output, and at its end io.EOF; or a *TruncatedError, if there are bytes
// that the server did not have.
func (s *Stream) Read(buffer []byte) (int, error) {
	for len(s.unread) == 0 && len(buffer) > 0 {
		chunk, err := s.next()
		if err == io.EOF && s.missing != nil {
			err = &TruncatedError{s.missing}
		}
		if err != nil {
			return 0, err
		}
		s.unread = chunk.Data
	}
	count := copy(buffer, s.unread)
	s.unread = s.unread[count:]
	return count, nil
}

// Chunks returns the pieces of the output as they come. It ends with the output, or after an error.
func (s *Stream) Chunks() iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		for {
			chunk, err := s.next()
			if err == io.EOF {
				return
			}
			if !yield(chunk, err) || err != nil {
				return
			}
		}
	}
}

// Offset returns where the stream stands: that of the next byte. Of a stream that begins at a tail or a
// time it is known once the first piece has come.
func (s *Stream) Offset() int64 { return s.request.GetOffset() }

// Result returns the job once the stream has ended, and nil before: final, unless the request's follow
// was false.
func (s *Stream) Result() *Job { return s.result }

// Close ends the call. It never fails.
func (s *Stream) Close() error {
	s.cancel()
	return nil
}

// next returns the next piece, and io.EOF behind the result.
func (s *Stream) next() (Chunk, error) {
	for s.err == nil {
		if len(s.pending) > 0 {
			chunk := s.pending[0]
			s.pending = s.pending[1:]
			s.request.Offset = chunk.end()
			return chunk, nil
		}
		message, err := s.receive()
		if err != nil {
			s.err = s.regain(err)
			continue
		}
		if s.result = message.GetResult(); s.result != nil {
			s.cancel()
			s.err = io.EOF
			continue
		}
		s.err = s.take(message)
	}
	s.cancel()
	return Chunk{}, s.err
}

// receive returns the next message of the open call, or the first one of a new call.
func (s *Stream) receive() (*jobworkerv1.GetJobsStreamResponse, error) {
	s.trials.begin(s.patience)
	if s.call == nil {
		call, err := s.service.GetJobsStream(s.ctx, s.request)
		if err != nil {
			return nil, err
		}
		s.call = call
		s.trials.connected()
	}
	message, err := s.call.Recv()
	if err == io.EOF {
		return nil, status.Error(codes.Unavailable, "the stream ended without the job's result")
	}
	if err == nil {
		s.trials.received()
	}
	return message, err
}

// regain waits for another attempt, and returns nil when it is time for one.
func (s *Stream) regain(err error) error {
	s.call = nil
	failure := fromRPC(err)
	if !failure.passing() {
		return failure
	}
	pause, ok := s.trials.failed(s.patience)
	if !ok {
		return failure
	}
	return waitAfter(s.ctx, failure, pause)
}

// take makes the message's chunks those that come next.
func (s *Stream) take(message *jobworkerv1.GetJobsStreamResponse) error {
	if err := s.standAt(message.GetOffset()); err != nil {
		return err
	}
	if truncated := message.GetTruncated(); truncated != nil {
		s.missing = append(s.missing, truncated)
		s.pending = []Chunk{{Offset: message.GetOffset(), Truncated: truncated}}
	} else {
		s.pending = chunks(message)
	}
	return nil
}

func (s *Stream) standAt(offset int64) error {
	due := s.request.GetOffset()
	isPlace := s.request.TailLines == nil && s.request.TailBytes == nil && s.request.Since == nil
	oneSource := s.request.GetSource() != jobworkerv1.OutputSource_OUTPUT_SOURCE_UNSPECIFIED
	if offset < due || offset > due && isPlace && !oneSource {
		return &Error{
			Code:    codes.DataLoss,
			Reason:  ErrWrongOffset,
			Message: fmt.Sprintf("the server sent byte %d of the output where byte %d was due", offset, due),
		}
	}
	s.request.Offset = offset
	s.request.TailLines, s.request.TailBytes, s.request.Since = nil, nil, nil
	return nil
}
