package jobworker

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// attachCalls opens the calls of one attachment, one after the other. Each call has a goroutine that sends.
type attachCalls struct {
	service jobworkerv1.JobServiceClient
	// start is the first message of the next call. The goroutine of the open call changes it.
	start *jobworkerv1.AttachStart
	// input is nil if the attachment has no input.
	input *resumableInput
	// controls takes signals, sizes and the detach message.
	controls chan *jobworkerv1.AttachJobRequest
	// unsent is a control message that a broken call did not send.
	unsent *jobworkerv1.AttachJobRequest
	// redraw is set if the open call has sent a size with redraw. The goroutine of the open call sets it.
	redraw bool
	// detaching is closed when no call is to follow.
	detaching chan struct{}
	// onAccepted is called with each answer of the server to the input.
	onAccepted func()
	// size is the newest size of the job's terminal.
	size atomic.Pointer[jobworkerv1.TerminalResize]
	last *attachCall
}

func newAttachCalls(
	service jobworkerv1.JobServiceClient, start *jobworkerv1.AttachStart, input *resumableInput, onAccepted func(),
) *attachCalls {
	return &attachCalls{
		service: service, start: start, input: input, onAccepted: onAccepted,
		controls: make(chan *jobworkerv1.AttachJobRequest), detaching: make(chan struct{}),
	}
}

// open starts a call that continues the output at the offset of the request.
func (c *attachCalls) open(ctx context.Context, request *jobworkerv1.GetJobsStreamRequest) (outputCall, error) {
	c.close()
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.service.AttachJob(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	c.start.Offset, c.start.TailBytes = request.GetOffset(), request.TailBytes
	// A size has no answer, and the call of a process that was suspended for long is often broken.
	c.start.Redraw = c.start.GetRedraw() || c.redraw
	c.redraw = false
	start := proto.CloneOf(c.start)
	call := &attachCall{calls: c, stream: stream, answers: make(chan int64), cancel: cancel, sent: make(chan struct{})}
	c.last = call
	go call.send(ctx, start)
	return call, nil
}

// close ends the last call, and waits until it sends nothing more.
func (c *attachCalls) close() {
	if c.last != nil {
		c.last.cancel()
		<-c.last.sent
		c.last = nil
	}
}

// attachCall is a call of AttachJob that is read like a call of GetJobsStream.
type attachCall struct {
	calls  *attachCalls
	stream grpc.BidiStreamingClient[jobworkerv1.AttachJobRequest, jobworkerv1.AttachJobResponse]
	// answers passes the accepted offsets to the goroutine that sends.
	answers chan int64
	// answered is true after the answer to start, which input must wait for.
	answered bool
	// sentParts is how many of the pending parts this call has sent.
	sentParts int
	// unanswered is how many parts the server has not answered.
	unanswered int
	cancel     context.CancelFunc
	// sent is closed when the call sends nothing more.
	sent chan struct{}
}

// Recv returns the next message of the output, and handles the other messages.
func (c *attachCall) Recv() (*jobworkerv1.GetJobsStreamResponse, error) {
	for {
		message, err := c.stream.Recv()
		if err != nil {
			return nil, c.endOfCall(err)
		}
		switch kind := message.GetKind().(type) {
		case *jobworkerv1.AttachJobResponse_Output:
			return kind.Output, nil
		case *jobworkerv1.AttachJobResponse_InputAccepted:
			c.calls.onAccepted()
			c.answer(kind.InputAccepted.GetOffset())
		case *jobworkerv1.AttachJobResponse_Resized:
			c.resized(kind.Resized)
		}
	}
}

// answer passes an accepted offset to the goroutine that sends.
func (c *attachCall) answer(offset int64) {
	if c.calls.input == nil {
		return
	}
	select {
	case c.answers <- offset:
	case <-c.sent:
	}
}

// resized stores a size of the job's terminal. After a break, the server repeats earlier ones.
func (c *attachCall) resized(size *jobworkerv1.TerminalResize) {
	if size.GetLogOffset() >= c.calls.size.Load().GetLogOffset() {
		c.calls.size.Store(size)
	}
}

// endOfCall returns the error of a call that has ended. After detach the call is not repeated.
func (c *attachCall) endOfCall(err error) error {
	select {
	case <-c.calls.detaching:
		return status.Error(codes.Canceled, "detached")
	default:
		return err
	}
}

// send sends start, and then the input and the control messages until the call ends. Recv reports why it has ended.
func (c *attachCall) send(ctx context.Context, start *jobworkerv1.AttachStart) {
	defer close(c.sent)
	first := &jobworkerv1.AttachJobRequest{Kind: &jobworkerv1.AttachJobRequest_Start{Start: start}}
	if c.stream.Send(first) != nil || !c.sendControl() {
		return
	}
	for c.sendNext(ctx) {
	}
}

// sendNext waits for something to send, and reports whether the call is open.
func (c *attachCall) sendNext(ctx context.Context) bool {
	select {
	case offset := <-c.answers:
		c.accept(offset)
		return c.sendParts()
	case part := <-c.parts():
		c.calls.input.pending = append(c.calls.input.pending, part)
		return c.sendParts()
	case c.calls.unsent = <-c.calls.controls:
		return c.sendControl()
	case <-ctx.Done():
		return false
	}
}

// parts returns the channel of the input, or nil while the server takes no part.
func (c *attachCall) parts() chan inputPart {
	if !c.answered || c.unanswered == maxUnanswered {
		return nil
	}
	return c.calls.input.parts
}

// accept processes an answer of the server.
func (c *attachCall) accept(offset int64) {
	if c.answered {
		c.unanswered--
	}
	repliesToEnd := c.answered && c.unanswered == 0
	c.sentParts = max(0, c.sentParts-c.calls.input.accept(offset, repliesToEnd))
	c.answered = true
	// The stdin is taken over once: another client that takes it over later keeps it.
	c.calls.start.TakeOver, c.calls.start.Redraw = false, false
}

// sendParts sends the pending parts, and reports whether the call is open.
func (c *attachCall) sendParts() bool {
	for c.sentParts < len(c.calls.input.pending) {
		if c.stream.Send(c.calls.input.request(c.sentParts)) != nil {
			return false
		}
		c.sentParts++
		c.unanswered++
	}
	return true
}

// sendControl sends the waiting control message, and reports whether the call is open. A new size also applies to the
// next calls, and the next call repeats its redraw.
func (c *attachCall) sendControl() bool {
	if c.calls.unsent == nil {
		return true
	}
	size := c.calls.unsent.GetResize()
	if size != nil {
		c.calls.start.Size = &jobworkerv1.TerminalSize{Columns: size.GetColumns(), Rows: size.GetRows()}
	}
	if c.stream.Send(c.calls.unsent) != nil {
		return false
	}
	c.calls.redraw = c.calls.redraw || size.GetRedraw()
	c.calls.unsent = nil
	return true
}
