package jobworker

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

type waitHandler = func(ctx context.Context, request *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error)

// waitServer answers its first WaitJob call with the first handler, and so on. The last handler repeats.
type waitServer struct {
	jobworkerv1.UnimplementedJobServiceServer
	handlers []waitHandler
	calls    int
}

func (s *waitServer) WaitJob(ctx context.Context, request *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error) {
	s.calls++
	return s.handlers[min(s.calls, len(s.handlers))-1](ctx, request)
}

func running(context.Context, *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error) {
	return &jobworkerv1.WaitJobResponse{Job: &Job{Id: "7"}}, nil
}

func done(context.Context, *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error) {
	return &jobworkerv1.WaitJobResponse{Job: &Job{Id: "7", ExitCode: proto.Int32(3)}, Done: true}, nil
}

func waitFails(err error) waitHandler {
	return func(context.Context, *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error) {
		return nil, err
	}
}

func TestWaitRequestsTheJobAtOnceAndThenItsEnd(t *testing.T) {
	server := &waitServer{handlers: []waitHandler{
		func(ctx context.Context, request *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error) {
			equal(t, request.GetId(), "7")
			equal(t, request.GetTimeout().AsDuration(), time.Duration(0))
			equal(t, request.GetTimeout() != nil, true)
			return running(ctx, request)
		},
		func(ctx context.Context, request *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error) {
			equal(t, request.GetTimeout() == nil, true)
			return running(ctx, request)
		},
		done,
	}}
	job, err := clientOf(t, server).Wait(t.Context(), "7")
	must(t, err)
	equal(t, job.GetExitCode(), 3)
	equal(t, server.calls, 3)
}

func TestWaitResumesAfterBrokenCalls(t *testing.T) {
	lost := waitFails(errUnavailable)
	server := &waitServer{handlers: []waitHandler{lost, running, lost, lost, lost, lost, lost, lost, lost, lost, done}}
	client := clientOf(t, server)
	client.policy.streamBackoff = milliseconds(1)
	job, err := client.Wait(t.Context(), "7")
	must(t, err)
	equal(t, job.GetExitCode(), 3)
}

func TestWaitFailsAfterTheResumeTimeout(t *testing.T) {
	server := &waitServer{handlers: []waitHandler{running, waitFails(errUnavailable)}}
	client := clientOf(t, server)
	client.policy.resumeTimeout = 10 * time.Millisecond
	client.policy.streamBackoff = milliseconds(1)
	began := time.Now()
	_, err := client.Wait(t.Context(), "7")
	failure, ok := errors.AsType[*Error](err)
	equal(t, ok, true)
	equal(t, failure.Code, codes.Unavailable)
	if taken := time.Since(began); taken > 2*time.Second {
		t.Errorf("the retries of calls prolong the wait: %v", taken)
	}
}

func TestWaitForAnUnknownJobFailsAtOnce(t *testing.T) {
	server := &waitServer{handlers: []waitHandler{waitFails(status.Error(codes.NotFound, "unknown job"))}}
	_, err := clientOf(t, server).Wait(t.Context(), "7")
	failure, ok := errors.AsType[*Error](err)
	equal(t, ok, true)
	equal(t, failure.Code, codes.NotFound)
	equal(t, server.calls, 1)
}

func TestWaitEndsWithTheContext(t *testing.T) {
	server := &waitServer{handlers: []waitHandler{
		running,
		func(ctx context.Context, _ *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error) {
			<-ctx.Done()
			return nil, status.FromContextError(ctx.Err()).Err()
		},
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := clientOf(t, server).Wait(ctx, "7")
	equal(t, errors.Is(err, context.DeadlineExceeded), true)
}
