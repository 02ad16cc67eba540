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
	"google.golang.org/protobuf/types/known/durationpb"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// serverError returns an error with the details that the server adds.
func serverError(t *testing.T, code codes.Code, reason Reason) error {
	t.Helper()
	withDetails, err := status.New(code, "the message").WithDetails(
		&errdetails.ErrorInfo{Reason: string(reason), Domain: "jobworker.dev", Metadata: map[string]string{"job_id": "7"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "max_cpu", Description: "negative"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	)
	must(t, err)
	return withDetails.Err()
}

func TestCreateIsRetriedWithOneRequestID(t *testing.T) {
	unavailable := serverError(t, codes.Unavailable, ErrSupervisorUnavailable)
	server := &unaryServer{failures: []error{unavailable, unavailable}}
	request := &jobworkerv1.CreateJobRequest{Command: "true"}
	job, err := clientOf(t, server).Create(t.Context(), request)
	must(t, err)
	equal(t, job.GetId(), "new")
	equal(t, len(server.creates), 3)
	for _, each := range server.creates {
		equal(t, each.GetCommand(), "true")
		equal(t, each.GetRequestId(), server.creates[0].GetRequestId())
	}
	if server.creates[0].GetRequestId() == "" || request.GetRequestId() != "" {
		t.Fatal("the sent request must have an id; the caller's request must not change")
	}
}

func TestCreateKeepsTheRequestIDOfTheCaller(t *testing.T) {
	server := &unaryServer{}
	_, err := clientOf(t, server).Create(t.Context(), &jobworkerv1.CreateJobRequest{RequestId: "mine"})
	must(t, err)
	equal(t, server.creates[0].GetRequestId(), "mine")
}

func TestErrorHasTheDetailsOfTheServer(t *testing.T) {
	server := &unaryServer{failures: []error{serverError(t, codes.NotFound, ErrJobNotFound)}}
	_, err := clientOf(t, server).Get(t.Context(), "7")
	if !errors.Is(err, ErrJobNotFound) || errors.Is(err, ErrTooManyJobs) || errors.Is(err, context.Canceled) {
		t.Fatalf("unexpected reason: %v", err)
	}
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T", err)
	}
	equal(t, failure.Code, codes.NotFound)
	equal(t, failure.Message, "the message")
	equal(t, failure.Error(), "jobworker: the message (JOB_NOT_FOUND)")
	equal(t, maps.Equal(failure.Metadata, map[string]string{"job_id": "7"}), true)
	equal(t, slices.Equal(failure.Fields, []FieldViolation{{"max_cpu", "negative"}}), true)
	equal(t, failure.RetryDelay, 1500*time.Millisecond)
	equal(t, status.Code(err), codes.NotFound)
	equal(t, len(server.failures), 0)
}

func TestCallFailsAfterTheLastRetry(t *testing.T) {
	server := &unaryServer{failures: slices.Repeat([]error{serverError(t, codes.Unavailable, ErrShuttingDown)}, 9)}
	_, err := clientOf(t, server).Get(t.Context(), "7")
	if !errors.Is(err, ErrShuttingDown) {
		t.Fatal(err)
	}
	equal(t, len(server.failures), 9-1-len(defaultRetryPolicy().callBackoff))
}

func TestDeleteSendsTheID(t *testing.T) {
	server := &unaryServer{failures: []error{serverError(t, codes.Unavailable, ErrSupervisorUnavailable)}}
	must(t, clientOf(t, server).Delete(t.Context(), "7"))
	equal(t, slices.Equal(server.deletes, []string{"7", "7"}), true)
}

func TestDeleteOfAnUnknownJobFails(t *testing.T) {
	server := &unaryServer{failures: []error{serverError(t, codes.NotFound, ErrJobNotFound)}}
	if err := clientOf(t, server).Delete(t.Context(), "7"); !errors.Is(err, ErrJobNotFound) {
		t.Fatal(err)
	}
}

func TestDeleteSucceedsIfARepeatedAttemptFindsNoJob(t *testing.T) {
	server := &unaryServer{failures: []error{
		serverError(t, codes.Unavailable, ErrSupervisorUnavailable), serverError(t, codes.NotFound, ErrJobNotFound),
	}}
	must(t, clientOf(t, server).Delete(t.Context(), "7"))
	equal(t, len(server.deletes), 2)
}

func TestListContinuesAfterAnEmptyPage(t *testing.T) {
	server := &unaryServer{pages: []*jobworkerv1.ListJobsResponse{
		{NextPageToken: "next"}, {Jobs: []*Job{{Id: "7"}}},
	}}
	var ids []string
	for job, err := range clientOf(t, server).List(t.Context(), &jobworkerv1.ListJobsRequest{CommandContains: "train"}) {
		must(t, err)
		ids = append(ids, job.GetId())
	}
	equal(t, slices.Equal(ids, []string{"7"}), true)
	equal(t, server.lists[1].GetCommandContains(), "train")
	equal(t, server.lists[1].GetPageToken(), "next")
}

func TestCallOutlastsARestartOfThreeSeconds(t *testing.T) {
	a := newAuthority(t)
	server, address := a.serve(t, "127.0.0.1:0", &unaryServer{}, 0)
	client := a.dial(t, address)
	_, err := client.Get(t.Context(), "7")
	must(t, err)
	server.Stop()
	restart := time.AfterFunc(3*time.Second, func() { a.serve(t, address, &unaryServer{}, 0) })
	defer restart.Stop()
	_, err = client.Get(t.Context(), "7")
	must(t, err)
}

func TestDeadlineEndsTheRetries(t *testing.T) {
	server := &unaryServer{failures: slices.Repeat([]error{serverError(t, codes.Unavailable, ErrShuttingDown)}, 9)}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := clientOf(t, server).Get(ctx, "7")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestRetryable(t *testing.T) {
	for failure, retryable := range map[*Error]bool{
		{Code: codes.Unavailable, Message: "connection refused"}:                                        true,
		{Code: codes.Unavailable, Message: "authentication handshake failed: EOF"}:                      true,
		{Code: codes.Unavailable, Message: "authentication handshake failed: tls: bad certificate"}:     false,
		{Code: codes.Unavailable, Message: "authentication handshake failed: x509: unknown CA"}:         false,
		{Code: codes.Unavailable, Message: "a server message with tls: in it", Reason: ErrShuttingDown}: true,
		{Code: codes.Internal, Message: "a bug"}:                                                        false,
	} {
		if failure.Retryable() != retryable {
			t.Errorf("%v: Retryable is %v", failure, !retryable)
		}
	}
}

func TestBackoffEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := sleepBeforeRetry(ctx, &Error{Message: "no server"}, time.Hour)
	equal(t, errors.Is(err, context.Canceled), true)
	equal(t, err.Error(), "jobworker: context canceled; last error: no server (Canceled)")
}

func TestListRequestsAllPages(t *testing.T) {
	server := &unaryServer{pages: []*jobworkerv1.ListJobsResponse{
		{Jobs: []*Job{{Id: "5"}, {Id: "4"}}, NextPageToken: "second"},
		{Jobs: []*Job{{Id: "3"}}, NextPageToken: "third"},
		{},
	}}
	request := &jobworkerv1.ListJobsRequest{IdPrefix: "p"}
	var ids []string
	for job, err := range clientOf(t, server).List(t.Context(), request) {
		must(t, err)
		ids = append(ids, job.GetId())
	}
	equal(t, slices.Equal(ids, []string{"5", "4", "3"}), true)
	for number, token := range []string{"", "second", "third"} {
		equal(t, server.lists[number].GetPageToken(), token)
		equal(t, server.lists[number].GetIdPrefix(), "p")
	}
	equal(t, request.GetPageToken(), "")
}

func TestListRequestsPagesOnDemand(t *testing.T) {
	server := &unaryServer{pages: []*jobworkerv1.ListJobsResponse{{Jobs: []*Job{{Id: "2"}, {Id: "1"}}, NextPageToken: "next"}}}
	for job, err := range clientOf(t, server).List(t.Context(), nil) {
		must(t, err)
		equal(t, job.GetId(), "2")
		break
	}
	equal(t, len(server.lists), 1)
}

func TestListEndsAfterAnError(t *testing.T) {
	server := &unaryServer{
		pages:    []*jobworkerv1.ListJobsResponse{{}},
		failures: []error{serverError(t, codes.InvalidArgument, ErrInvalidRequest)},
	}
	count := 0
	for job, err := range clientOf(t, server).List(t.Context(), nil) {
		count++
		equal(t, job, nil)
		equal(t, errors.Is(err, ErrInvalidRequest), true)
	}
	equal(t, count, 1)
}

func TestUpdateSendsOnlyGivenLimits(t *testing.T) {
	server := &unaryServer{}
	client := clientOf(t, server)
	job, err := client.Update(t.Context(), &jobworkerv1.UpdateJobRequest{Id: "7", MaxMemory: proto.Int32(64)})
	must(t, err)
	equal(t, job.GetMaxMemory(), 64)
	equal(t, server.updates[0].MaxCpu, nil)
}

func TestStopSendsTheGracePeriod(t *testing.T) {
	server := &unaryServer{}
	client := clientOf(t, server)
	_, err := client.Stop(t.Context(), "7")
	must(t, err)
	job, err := client.StopWithin(t.Context(), "7", 0)
	must(t, err)
	equal(t, job.GetId(), "7")
	equal(t, server.stops[0].GracePeriod, nil)
	equal(t, server.stops[1].GetGracePeriod().AsDuration(), 0)
	equal(t, server.stops[1].GracePeriod != nil, true)
}

func TestReasonHasAnEnumValue(t *testing.T) {
	equal(t, ErrJobNotFound.Enum(), jobworkerv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND)
	equal(t, Reason("A_NEW_REASON").Enum(), jobworkerv1.ErrorReason_ERROR_REASON_UNSPECIFIED)
	equal(t, ErrUnexpectedOffset.Enum(), jobworkerv1.ErrorReason_ERROR_REASON_UNSPECIFIED)
}
