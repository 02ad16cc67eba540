package jobworker

import (
	"context"
	"io"
	"iter"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// outputReader returns the output of a job in order, and io.EOF after its end.
type outputReader interface {
	next(context.Context) (Chunk, error)
	// position returns the offset of the next byte.
	position() int64
	// finalJob returns the job after the end, and nil before.
	finalJob() *Job
}

// JobStream is the output of a job. Read it with Read, as bytes, or with Chunks, in one goroutine.
//
// The stream resumes at the same offset if the connection breaks, the server restarts, or the server cuts
// the reader off because it was too slow. No byte is lost or duplicated. The stream fails if the server is
// unavailable for 30 s.
type JobStream struct {
	ctx    context.Context
	cancel context.CancelFunc
	output outputReader

	unread    []byte
	truncated []*jobworkerv1.TruncatedRange
	err       error
}

// Read returns the bytes of the output, and io.EOF at the end. If the server no longer had part of the
// output, the last error is a *TruncatedError instead of io.EOF.
func (s *JobStream) Read(buffer []byte) (int, error) {
	for len(s.unread) == 0 && len(buffer) > 0 {
		chunk, err := s.next()
		if err == io.EOF && s.truncated != nil {
			err = &TruncatedError{s.truncated}
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

// Chunks returns the chunks of the output as they arrive. The sequence ends with the output, or after an error.
func (s *JobStream) Chunks() iter.Seq2[Chunk, error] {
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

// Offset returns the offset of the next byte. If the request names a tail or a time, the offset is valid
// after the first chunk.
func (s *JobStream) Offset() int64 { return s.output.position() }

// Result returns the job after the stream has ended, and nil before. The job's status is final unless the
// request set follow to false.
func (s *JobStream) Result() *Job { return s.output.finalJob() }

// Close ends the call. It can be called from any goroutine and always returns nil.
func (s *JobStream) Close() error {
	s.cancel()
	return nil
}

// next returns the next chunk. After an error it returns the same error again.
func (s *JobStream) next() (Chunk, error) {
	if s.err != nil {
		return Chunk{}, s.err
	}
	chunk, err := s.output.next(s.ctx)
	if err != nil {
		s.err = err
		s.cancel()
	}
	if chunk.Truncated != nil {
		s.truncated = append(s.truncated, chunk.Truncated)
	}
	return chunk, err
}
