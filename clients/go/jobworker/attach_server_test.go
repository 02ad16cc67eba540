package jobworker

import (
	"fmt"
	"sync"

	"google.golang.org/grpc"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

type attachStream = grpc.BidiStreamingServer[jobworkerv1.AttachJobRequest, jobworkerv1.AttachJobResponse]

// attachFault breaks a call when it has received this many parts.
type attachFault struct {
	// part is the number of the part of the call, from 1. 0 = before the first answer.
	part int
	// accepts is how many bytes of the part are accepted.
	accepts int
}

// attachServer runs one job, which copies its stdin to its stdout and ends at the end of the input.
type attachServer struct {
	jobworkerv1.UnimplementedJobServiceServer
	// faults break the calls, one each.
	faults []attachFault
	// closedStdin makes the job close its stdin: the server drops the input, and forgets how much it was.
	closedStdin bool
	// refusal is the answer to the first part.
	refusal error
	// sizes are sent at the start of each call.
	sizes []*jobworkerv1.TerminalResize
	// silent makes the server answer only the start.
	silent bool

	mutex  sync.Mutex
	input  []byte
	starts []*jobworkerv1.AttachStart
	// events has the messages of the client besides input, and the ends of calls.
	events chan string
}

func newAttachServer(faults ...attachFault) *attachServer {
	return &attachServer{faults: faults, events: make(chan string, 100)}
}

func (s *attachServer) AttachJob(stream attachStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	defer func() { s.events <- "end" }()
	call := &serverCall{attachServer: s, stream: stream, sent: first.GetStart().GetOffset(), fault: s.begin(first.GetStart())}
	return call.run(first.GetStart().GetInputId() != "")
}

// begin records a call and returns its fault.
func (s *attachServer) begin(start *jobworkerv1.AttachStart) attachFault {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.starts = append(s.starts, start)
	if len(s.starts) <= len(s.faults) {
		return s.faults[len(s.starts)-1]
	}
	return attachFault{part: -1}
}

type serverCall struct {
	*attachServer
	stream attachStream
	fault  attachFault
	// sent is the offset of the output.
	sent  int64
	parts int
}

func (c *serverCall) run(hasInput bool) error {
	if c.fault.part == 0 {
		return errUnavailable
	}
	for _, size := range c.sizes {
		c.send(&jobworkerv1.AttachJobResponse{Kind: &jobworkerv1.AttachJobResponse_Resized{Resized: size}})
	}
	if hasInput {
		c.accepted(c.position())
	}
	for {
		message, err := c.stream.Recv()
		if err != nil {
			return err
		}
		switch kind := message.GetKind().(type) {
		case *jobworkerv1.AttachJobRequest_Input:
			if err := c.take(kind.Input); err != nil {
				return err
			}
		case *jobworkerv1.AttachJobRequest_Eof:
			if c.parts++; c.parts == c.fault.part {
				return errUnavailable
			}
			c.accepted(kind.Eof.GetOffset())
			return c.stream.Send(outputMessage(result()))
		case *jobworkerv1.AttachJobRequest_Signal:
			c.events <- kind.Signal.GetName()
		case *jobworkerv1.AttachJobRequest_Resize:
			c.events <- eventOf(kind.Resize)
		case *jobworkerv1.AttachJobRequest_Detach:
			c.events <- "detach"
			if !c.silent {
				return nil
			}
		}
	}
}

// eventOf returns the event of a size: columns, rows and whether programs are to draw again.
func eventOf(size *jobworkerv1.TerminalSize) string {
	event := fmt.Sprintf("%dx%d", size.GetColumns(), size.GetRows())
	if size.GetRedraw() {
		event += " redraw"
	}
	return event
}

func (c *serverCall) take(chunk *jobworkerv1.InputChunk) error {
	if c.refusal != nil {
		return c.refusal
	}
	if c.silent {
		c.events <- fmt.Sprintf("input %d", len(chunk.GetData()))
		return nil
	}
	end := chunk.GetOffset() + int64(len(chunk.GetData()))
	c.parts++
	if c.parts == c.fault.part {
		c.append(chunk.GetOffset(), chunk.GetData()[:min(c.fault.accepts, len(chunk.GetData()))])
		return errUnavailable
	}
	c.append(chunk.GetOffset(), chunk.GetData())
	c.echo()
	c.accepted(end)
	return nil
}

// append accepts the bytes that the server does not have yet.
func (s *attachServer) append(offset int64, data []byte) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if gap := offset - int64(len(s.input)); gap > 0 {
		panic(fmt.Sprintf("a gap of %d bytes", gap))
	}
	if known := int64(len(s.input)) - offset; known < int64(len(data)) {
		s.input = append(s.input, data[known:]...)
	}
}

func (s *attachServer) position() int64 {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closedStdin {
		return 0
	}
	return int64(len(s.input))
}

func (s *attachServer) text() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return string(s.input)
}

func (s *attachServer) received() []*jobworkerv1.AttachStart {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.starts
}

// echo sends the rest of the output.
func (c *serverCall) echo() {
	if rest := c.text()[c.sent:]; rest != "" {
		c.send(outputMessage(output(c.sent, rest)))
		c.sent += int64(len(rest))
	}
}

func (c *serverCall) accepted(offset int64) {
	accepted := &jobworkerv1.InputAccepted{Offset: offset}
	c.send(&jobworkerv1.AttachJobResponse{Kind: &jobworkerv1.AttachJobResponse_InputAccepted{InputAccepted: accepted}})
}

func (c *serverCall) send(message *jobworkerv1.AttachJobResponse) {
	// Send fails only if the client has gone, which the test notices itself.
	_ = c.stream.Send(message)
}

func outputMessage(message *streamMessage) *jobworkerv1.AttachJobResponse {
	return &jobworkerv1.AttachJobResponse{Kind: &jobworkerv1.AttachJobResponse_Output{Output: message}}
}
