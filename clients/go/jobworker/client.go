package jobworker

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// callTimeout bounds a call that the server answers at once, unless the context has a deadline.
const callTimeout = 30 * time.Second

// Job is a command that the server runs or has run.
type Job = jobworkerv1.Job

// Node is one host of a cluster.
type Node = jobworkerv1.Node

// Client is a connection to one server. It is safe for concurrent use. A call that fails returns an *Error.
//
// Calls are retried while the server is unavailable. Unless the context has a deadline, Create, Get, Update,
// Delete and each page of List and ListNodes time out after 30 s. Stop, Wait, Stream and Attach last as long as
// the job, and Watch until it is closed.
type Client struct {
	connection *grpc.ClientConn
	service    jobworkerv1.JobServiceClient
	cluster    jobworkerv1.ClusterServiceClient
	policy     retryPolicy
}

// Dial returns a client. The client connects when it makes the first call. Call Close to release it.
func Dial(config Config) (*Client, error) {
	policy := defaultRetryPolicy()
	connection, err := connect(config, policy)
	if err != nil {
		return nil, err
	}
	service, cluster := jobworkerv1.NewJobServiceClient(connection), jobworkerv1.NewClusterServiceClient(connection)
	return &Client{connection, service, cluster, policy}, nil
}

// FromEnv calls Dial with the result of ConfigFromEnv.
func FromEnv() (*Client, error) {
	return Dial(ConfigFromEnv())
}

// Close closes the connection and ends all calls.
func (c *Client) Close() error {
	return c.connection.Close()
}

// Create starts a job and returns when its command runs. If the request sets queue_timeout and the server has no room
// for the job, Create returns it with status QUEUED.
//
// A request without a request_id gets a random one, so that a retry never starts a second job. Set
// request_id to retry the call from another process, for example after a crash.
func (c *Client) Create(ctx context.Context, request *jobworkerv1.CreateJobRequest) (*Job, error) {
	if request.GetRequestId() == "" {
		original := request
		request = &jobworkerv1.CreateJobRequest{RequestId: rand.Text()}
		proto.Merge(request, original)
	}
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	response, err := c.service.CreateJob(ctx, request)
	return response.GetJob(), err
}

// Get returns a job by its complete id.
func (c *Client) Get(ctx context.Context, id string) (*Job, error) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	response, err := c.service.GetJob(ctx, &jobworkerv1.GetJobRequest{Id: id})
	return response.GetJob(), err
}

// List returns the jobs that match the request's filters, newest first. A nil request matches all jobs. Pages
// are requested as the caller iterates. The sequence ends after an error.
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
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	return c.service.ListJobs(ctx, request)
}

// ListNodes returns the nodes of the cluster, by name. Pages are requested as the caller iterates. The sequence ends after
// an error. Only a gateway has nodes: the error of a single host has the code Unimplemented.
func (c *Client) ListNodes(ctx context.Context) iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) {
		next := &jobworkerv1.ListNodesRequest{}
		for {
			page, err := c.nodePage(ctx, next)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, node := range page.GetNodes() {
				if !yield(node, nil) {
					return
				}
			}
			if next.PageToken = page.GetNextPageToken(); next.PageToken == "" {
				return
			}
		}
	}
}

func (c *Client) nodePage(ctx context.Context, request *jobworkerv1.ListNodesRequest) (*jobworkerv1.ListNodesResponse, error) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	return c.cluster.ListNodes(ctx, request)
}

// Stop stops a job and returns it in its final status. The server sends the stop signal, and kills the job
// after the grace period that the job was created with.
func (c *Client) Stop(ctx context.Context, id string) (*Job, error) {
	return c.stop(ctx, &jobworkerv1.StopJobRequest{Id: id})
}

// StopWithin is Stop with another grace period. 0 kills the job at once.
func (c *Client) StopWithin(ctx context.Context, id string, gracePeriod time.Duration) (*Job, error) {
	return c.stop(ctx, &jobworkerv1.StopJobRequest{Id: id, GracePeriod: durationpb.New(gracePeriod)})
}

func (c *Client) stop(ctx context.Context, request *jobworkerv1.StopJobRequest) (*Job, error) {
	response, err := c.service.StopJob(ctx, request)
	return response.GetJob(), err
}

// Delete deletes a job that has ended: its record and its output.
func (c *Client) Delete(ctx context.Context, id string) error {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	_, err := c.service.DeleteJob(ctx, &jobworkerv1.DeleteJobRequest{Id: id})
	if failure, ok := errors.AsType[*Error](err); ok && failure.Reason == ErrJobNotFound && failure.retries > 0 {
		// An earlier attempt deleted the job, but its response was lost.
		return nil
	}
	return err
}

// Update changes the limits of a running job that the request sets. It returns the job with the limits that
// the kernel applied.
func (c *Client) Update(ctx context.Context, request *jobworkerv1.UpdateJobRequest) (*Job, error) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	response, err := c.service.UpdateJob(ctx, request)
	return response.GetJob(), err
}

// Wait returns a job when its status is final. It reconnects if the server restarts.
func (c *Client) Wait(ctx context.Context, id string) (*Job, error) {
	// The first call returns at once, so that an unknown id or an unreachable server is reported as quickly as by
	// Get. Later calls end with the job, and outlast a restart of the server.
	response, err := c.waitJob(ctx, &jobworkerv1.WaitJobRequest{Id: id, Timeout: durationpb.New(0)})
	if err != nil {
		return nil, err
	}
	retry := streamRetry{policy: c.policy}
	for !response.GetDone() {
		retry.messageReceived()
		if response, err = c.retryWait(ctx, &retry, &jobworkerv1.WaitJobRequest{Id: id}); err != nil {
			return nil, err
		}
	}
	return response.GetJob(), nil
}

func (c *Client) waitJob(ctx context.Context, request *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	return c.service.WaitJob(ctx, request)
}

// retryWait makes a call until the server answers.
func (c *Client) retryWait(ctx context.Context, retry *streamRetry, request *jobworkerv1.WaitJobRequest) (*jobworkerv1.WaitJobResponse, error) {
	for {
		retry.callOpened()
		response, err := c.service.WaitJob(ctx, request)
		if err == nil {
			return response, nil
		}
		if err := retry.sleep(ctx, err); err != nil {
			return nil, err
		}
	}
}

// Stream returns the output of a job from the position that the request names. The first read makes the call.
// The call ends with the context. Call Close to release the stream.
func (c *Client) Stream(ctx context.Context, request *jobworkerv1.GetJobsStreamRequest) *JobStream {
	ctx, cancel := context.WithCancel(ctx)
	next := &jobworkerv1.GetJobsStreamRequest{}
	proto.Merge(next, request)
	next.MixedSources = true
	open := func(ctx context.Context, request *jobworkerv1.GetJobsStreamRequest) (outputCall, error) {
		return c.service.GetJobsStream(ctx, request)
	}
	output := &resumableStream{open: open, retry: streamRetry{policy: c.policy}, request: next}
	return &JobStream{ctx: ctx, cancel: cancel, output: output}
}

// Attach passes input and signals to a job, and returns its output from the position that the request names. The
// call starts at once, and ends with the context. Call Detach to release the attachment.
//
// The job needs an open stdin or a terminal: set Stdin or Terminal in CreateJobRequest. A request without an input_id
// gets a random one. Set size if the job has a terminal, and take_over to replace another client.
func (c *Client) Attach(ctx context.Context, request *jobworkerv1.AttachStart) *Attachment {
	start := proto.CloneOf(request)
	if start.GetInputId() == "" {
		start.InputId = rand.Text()
	}
	return c.attach(ctx, start, newResumableInput())
}

// AttachWithoutInput is Attach for a job that reads no input, or that another client feeds. It sends only signals.
func (c *Client) AttachWithoutInput(ctx context.Context, request *jobworkerv1.AttachStart) *Attachment {
	start := proto.CloneOf(request)
	start.InputId = ""
	return c.attach(ctx, start, nil)
}

func (c *Client) attach(ctx context.Context, start *jobworkerv1.AttachStart, input *resumableInput) *Attachment {
	request := &jobworkerv1.GetJobsStreamRequest{Id: start.GetId(), Offset: start.GetOffset(), TailBytes: start.TailBytes}
	stream := &resumableStream{retry: streamRetry{policy: c.policy}, request: request}
	calls := newAttachCalls(c.service, start, input, stream.retry.messageReceived)
	stream.open = calls.open
	return attach(ctx, calls, stream)
}

// Watch returns the jobs that match the request, and then each change. A nil request matches all jobs. The first
// read makes the call. The call ends with the context. Call Close to release the watch.
func (c *Client) Watch(ctx context.Context, request *jobworkerv1.WatchJobsRequest) *JobWatch {
	ctx, cancel := context.WithCancel(ctx)
	next := &jobworkerv1.WatchJobsRequest{}
	proto.Merge(next, request)
	watch := &resumableWatch{
		service: c.service, retry: streamRetry{policy: c.policy}, request: next, jobs: map[string]*Job{},
	}
	return &JobWatch{ctx: ctx, cancel: cancel, watch: watch}
}

func withCallTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}
