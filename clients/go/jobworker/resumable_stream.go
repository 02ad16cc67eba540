package jobworker

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// outputCall is an open call that returns the output of a job.
type outputCall interface {
	Recv() (*jobworkerv1.GetJobsStreamResponse, error)
}

// openOutput starts a call.
type openOutput func(context.Context, *jobworkerv1.GetJobsStreamRequest) (outputCall, error)

// resumableStream reads the output of one job over as many calls as needed. A call that breaks is replaced
// by one that starts at the same offset. Each message's offset is checked, so no byte is lost or duplicated.
type resumableStream struct {
	open  openOutput
	retry streamRetry

	// request is what the next call sends. Its offset is the position of the stream: all bytes before it were
	// returned. A tail or a time is resolved by the server, and replaced by the offset of the first message.
	request *jobworkerv1.GetJobsStreamRequest
	call    outputCall
	pending []Chunk
	result  *Job
}

func (s *resumableStream) position() int64 { return s.request.GetOffset() }

func (s *resumableStream) finalJob() *Job { return s.result }

// next returns the next chunk, and io.EOF after the result.
func (s *resumableStream) next(ctx context.Context) (Chunk, error) {
	for len(s.pending) == 0 {
		message, err := s.receive(ctx)
		if err != nil {
			if err := s.waitForRetry(ctx, err); err != nil {
				return Chunk{}, err
			}
			continue
		}
		if s.result = message.GetResult(); s.result != nil {
			return Chunk{}, io.EOF
		}
		if err := s.accept(message); err != nil {
			return Chunk{}, err
		}
	}
	chunk := s.pending[0]
	s.pending = s.pending[1:]
	s.request.Offset = chunk.end()
	return chunk, nil
}

// receive returns the next message of the open call, or the first message of a new call.
func (s *resumableStream) receive(ctx context.Context) (*jobworkerv1.GetJobsStreamResponse, error) {
	s.retry.start()
	if s.call == nil {
		call, err := s.open(ctx, s.request)
		if err != nil {
			return nil, err
		}
		s.call = call
		s.retry.callOpened()
	}
	message, err := s.call.Recv()
	if err == io.EOF {
		return nil, status.Error(codes.Unavailable, "the stream ended without the job's result")
	}
	if err == nil {
		s.retry.messageReceived()
	}
	return message, err
}

// waitForRetry drops the failed call and sleeps. It returns an error if the call must not be retried.
func (s *resumableStream) waitForRetry(ctx context.Context, err error) error {
	s.call = nil
	return s.retry.sleep(ctx, err)
}

// accept checks the offset of a message and queues its chunks. It ignores kinds of messages that it does not
// know.
func (s *resumableStream) accept(message *jobworkerv1.GetJobsStreamResponse) error {
	switch kind := message.GetKind().(type) {
	case *jobworkerv1.GetJobsStreamResponse_StartOffset:
		return s.advanceTo(kind.StartOffset)
	case *jobworkerv1.GetJobsStreamResponse_Truncated:
		s.pending = []Chunk{{Offset: message.GetOffset(), Truncated: kind.Truncated}}
	case *jobworkerv1.GetJobsStreamResponse_Payload:
		s.pending = splitMessage(message)
	default:
		return nil
	}
	return s.advanceTo(message.GetOffset())
}

// advanceTo moves the stream to the offset of a message. Only a request for one source, a tail or a time
// can skip bytes.
func (s *resumableStream) advanceTo(offset int64) error {
	expected := s.request.GetOffset()
	resolved := s.request.TailLines == nil && s.request.TailBytes == nil && s.request.Since == nil
	oneSource := s.request.GetSource() != jobworkerv1.OutputSource_OUTPUT_SOURCE_UNSPECIFIED
	if offset < expected || offset > expected && resolved && !oneSource {
		return &Error{
			Code:    codes.DataLoss,
			Reason:  ErrUnexpectedOffset,
			Message: fmt.Sprintf("the server sent output at offset %d; expected offset %d", offset, expected),
		}
	}
	s.request.Offset = offset
	s.request.TailLines, s.request.TailBytes, s.request.Since = nil, nil, nil
	return nil
}
