package jobworker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// refusal is an error as the server makes them.
func refusal(t *testing.T, code codes.Code, reason Reason) error {
	t.Helper()
	refused, err := status.New(code, "a sentence").WithDetails(
		&errdetails.ErrorInfo{Reason: string(reason), Domain: "jobworker.v1", Metadata: map[string]string{"job_id": "7"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "max_cpu", Description: "negative"}}},
	)
	must(t, err)
	return refused.Err()
}

func TestCreateIsRepeatedUnderOneID(t *testing.T) {
	away := refusal(t, codes.Unavailable, ErrSupervisorUnavailable)
	service := &calls{failures: []error{away, away}}
	request := &jobworkerv1.CreateJobRequest{Command: "true"}
	job, err := connected(t, service).Create(t.Context(), request)
	must(t, err)
	equal(t, job.GetId(), "new")
	equal(t, len(service.creates), 3)
	for _, each := range service.creates {
		equal(t, each.GetCommand(), "true")
		equal(t, each.GetRequestId(), service.creates[0].GetRequestId())
	}
	if service.creates[0].GetRequestId() == "" || request.GetRequestId() != "" {
		t.Fatal("the request that is sent has an id, the caller's is left as it was")
	}
}

func TestCreateKeepsTheCallersID(t *testing.T) {
	service := &calls{}
	_, err := connected(t, service).Create(t.Context(), &jobworkerv1.CreateJobRequest{RequestId: "mine"})
	must(t, err)
	equal(t, service.creates[0].GetRequestId(), "mine")
}

func TestErrorCarriesTheServersDetails(t *testing.T) {
	service := &calls{failures: []error{refusal(t, codes.NotFound, ErrJobNotFound)}}
	_, err := connected(t, service).Get(t.Context(), "7")
	if !errors.Is(err, ErrJobNotFound) || errors.Is(err, ErrTooManyJobs) || errors.Is(err, context.Canceled) {
		t.Fatalf("the reason is another one: %v", err)
	}
	refused, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T", err)
	}
	equal(t, refused.Code, codes.NotFound)
	equal(t, refused.Message, "a sentence")
	equal(t, refused.Error(), "jobworker: a sentence (JOB_NOT_FOUND)")
	equal(t, maps.Equal(refused.Metadata, map[string]string{"job_id": "7"}), true)
	equal(t, slices.Equal(refused.Fields, []FieldViolation{{"max_cpu", "negative"}}), true)
	equal(t, status.Code(err), codes.NotFound)
	equal(t, len(service.failures), 0)
}

func TestServerThatStaysAwayIsGivenUp(t *testing.T) {
	service := &calls{failures: slices.Repeat([]error{refusal(t, codes.Unavailable, ErrShuttingDown)}, 9)}
	_, err := connected(t, service).Get(t.Context(), "7")
	if !errors.Is(err, ErrShuttingDown) {
		t.Fatal(err)
	}
	equal(t, len(service.failures), 9-1-len(pauses()))
}

func TestDeadlineEndsTheRepetition(t *testing.T) {
	service := &calls{failures: slices.Repeat([]error{refusal(t, codes.Unavailable, ErrShuttingDown)}, 9)}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := connected(t, service).Get(ctx, "7")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestFailuresThatPass(t *testing.T) {
	for failure, passing := range map[*Error]bool{
		{Code: codes.Unavailable, Message: "connection refused"}:                                      true,
		{Code: codes.Unavailable, Message: "authentication handshake failed: EOF"}:                    true,
		{Code: codes.Unavailable, Message: "authentication handshake failed: tls: bad certificate"}:   false,
		{Code: codes.Unavailable, Message: "authentication handshake failed: x509: unknown CA"}:       false,
		{Code: codes.Unavailable, Message: "the server's words on tls: all", Reason: ErrShuttingDown}: true,
		{Code: codes.Internal, Message: "a bug"}:                                                      false,
	} {
		if failure.passing() != passing {
			t.Errorf("%v: %v", failure, !passing)
		}
	}
}

func TestPauseEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := waitAfter(ctx, &Error{Message: "no server"}, time.Hour)
	equal(t, errors.Is(err, context.Canceled), true)
	equal(t, err.Error(), "jobworker: context canceled, after: no server (Canceled)")
}

func TestListGoesThroughThePages(t *testing.T) {
	service := &calls{pages: []*jobworkerv1.ListJobsResponse{
		{Jobs: []*Job{{Id: "5"}, {Id: "4"}}, NextPageToken: "second"},
		{Jobs: []*Job{{Id: "3"}}, NextPageToken: "third"},
		{},
	}}
	request := &jobworkerv1.ListJobsRequest{IdPrefix: "p"}
	var ids []string
	for job, err := range connected(t, service).List(t.Context(), request) {
		must(t, err)
		ids = append(ids, job.GetId())
	}
	equal(t, slices.Equal(ids, []string{"5", "4", "3"}), true)
	for number, token := range []string{"", "second", "third"} {
		equal(t, service.lists[number].GetPageToken(), token)
		equal(t, service.lists[number].GetIdPrefix(), "p")
	}
	equal(t, request.GetPageToken(), "")
}

func TestListGetsNoPageTooMany(t *testing.T) {
	service := &calls{pages: []*jobworkerv1.ListJobsResponse{{Jobs: []*Job{{Id: "2"}, {Id: "1"}}, NextPageToken: "next"}}}
	for job, err := range connected(t, service).List(t.Context(), nil) {
		must(t, err)
		equal(t, job.GetId(), "2")
		break
	}
	equal(t, len(service.lists), 1)
}

func TestListEndsWithAnError(t *testing.T) {
	service := &calls{
		pages:    []*jobworkerv1.ListJobsResponse{{}},
		failures: []error{refusal(t, codes.InvalidArgument, ErrInvalidRequest)},
	}
	count := 0
	for job, err := range connected(t, service).List(t.Context(), nil) {
		count++
		equal(t, job, nil)
		equal(t, errors.Is(err, ErrInvalidRequest), true)
	}
	equal(t, count, 1)
}

func TestUpdate(t *testing.T) {
	service := &calls{}
	client := connected(t, service)
	job, err := client.Update(t.Context(), &jobworkerv1.UpdateJobRequest{Id: "7", MaxMemory: proto.Int32(64)})
	must(t, err)
	equal(t, job.GetMaxMemory(), 64)
	equal(t, service.updates[0].MaxCpu, nil)
}

func TestStop(t *testing.T) {
	service := &calls{}
	client := connected(t, service)
	_, err := client.Stop(t.Context(), "7")
	must(t, err)
	job, err := client.StopWithin(t.Context(), "7", 0)
	must(t, err)
	equal(t, job.GetId(), "7")
	equal(t, service.stops[0].GracePeriod, nil)
	equal(t, service.stops[1].GetGracePeriod().AsDuration(), 0)
	equal(t, service.stops[1].GracePeriod != nil, true)
}
