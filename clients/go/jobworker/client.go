package jobworker

import (
	"context"
	"crypto/rand"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// callTimeout bounds the calls that the server answers at once, where the context has no deadline.
const callTimeout = 30 * time.Second

// Job is one command that the server runs or ran.
type Job = jobworkerv1.Job

// Client is one connection, which many goroutines may use at once. A call that fails returns an *Error.
//
// Calls are repeated while the server is away for a moment. Where the context has no deadline, Create,
// Get and each page of List end after 30 s; Stop, Wait and Stream take as long as the job does.
type Client struct {
	connection *grpc.ClientConn
	service    jobworkerv1.JobServiceClient
	patience   patience
}

// Dial returns a client that connects with its first call. It must be closed.
func Dial(config Config) (*Client, error) {
	connection, err := connect(config)
	if err != nil {
		return nil, err
	}
	return &Client{connection, jobworkerv1.NewJobServiceClient(connection), defaultPatience()}, nil
}

// FromEnv is Dial with what the environment says, see ConfigFromEnv.
func FromEnv() (*Client, error) {
	return Dial(ConfigFromEnv())
}

// Close ends the connection, and with it all calls.
func (c *Client) Close() error {
	return c.connection.Close()
}

// Create starts a job and returns once its command runs.
//
// A request without a request_id gets one, so that repeating the call never starts a second job. Where
// the caller itself may want to repeat it, after a crash for example, it should choose the id.
func (c *Client) Create(ctx context.Context, request *jobworkerv1.CreateJobRequest) (*Job, error) {
	if request.GetRequestId() == "" {
		given := request
		request = &jobworkerv1.CreateJobRequest{RequestId: rand.Text()}
		proto.Merge(request, given)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	response, err := c.service.CreateJob(ctx, request)
	return response.GetJob(), err
}

// Get returns a job by its whole id.
func (c *Client) Get(ctx context.Context, id string) (*Job, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	response, err := c.service.GetJob(ctx, &jobworkerv1.GetJobRequest{Id: id})
	return response.GetJob(), err
}

// List returns the jobs that fit the filters of the request, newest first; nil asks for all. It gets one
// page after the other as they are needed, and ends after an error.
func (c *Client) List(ctx context.Context, request *jobworkerv1.ListJobsRequest) iter.Seq2[*Job, error] {
	return func(yield func(*Job, error) bool) {
		next := &jobworkerv1.ListJobsRequest{}
		proto.Merge(next, request)
		for {
			page, err := c.page(ctx, next)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, job := range page.GetJobs() {
				if !yield(job, nil) {
					return
				}
			}
			if next.PageToken = page.GetNextPageToken(); next.PageToken == "" {
				return
			}
		}
	}
}

func (c *Client) page(ctx context.Context, request *jobworkerv1.ListJobsRequest) (*jobworkerv1.ListJobsResponse, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return c.service.ListJobs(ctx, request)
}

// Stop ends a job and returns it in its final status. The job is left alive after its stop signal for as
// long as it was created with.
func (c *Client) Stop(ctx context.Context, id string) (*Job, error) {
	return c.stop(ctx, &jobworkerv1.StopJobRequest{Id: id})
}

// StopWithin is Stop with another grace period; 0 kills the job at once.
func (c *Client) StopWithin(ctx context.Context, id string, grace time.Duration) (*Job, error) {
	return c.stop(ctx, &jobworkerv1.StopJobRequest{Id: id, GracePeriod: durationpb.New(grace)})
}

func (c *Client) stop(ctx context.Context, request *jobworkerv1.StopJobRequest) (*Job, error) {
	response, err := c.service.StopJob(ctx, request)
	return response.GetJob(), err
}

// Update changes limits of a job that runs, those that the request sets, and returns it with what the kernel
// made of them.
func (c *Client) Update(ctx context.Context, request *jobworkerv1.UpdateJobRequest) (*Job, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	response, err := c.service.UpdateJob(ctx, request)
	return response.GetJob(), err
}

// Wait returns a job once its status is final. It goes on waiting while the server is away for a moment.
func (c *Client) Wait(ctx context.Context, id string) (*Job, error) {
	stream := c.Stream(ctx, &jobworkerv1.GetJobsStreamRequest{Id: id, ResultOnly: true})
	defer stream.Close()
	for _, err := range stream.Chunks() {
		if err != nil {
			return nil, err
		}
	}
	return stream.Result(), nil
}

// Stream returns the output of a job, from where the request says. The call is made with the first read,
// and ends with the context. The stream must be closed.
func (c *Client) Stream(ctx context.Context, request *jobworkerv1.GetJobsStreamRequest) *Stream {
	ctx, cancel := context.WithCancel(ctx)
	asked := &jobworkerv1.GetJobsStreamRequest{}
	proto.Merge(asked, request)
	asked.MixedSources = true
	return &Stream{ctx: ctx, cancel: cancel, service: c.service, patience: c.patience, request: asked}
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}
