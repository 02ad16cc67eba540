package jobworker

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

const (
	// bufferedChunks is how much output the client takes from the server before it is read.
	bufferedChunks = 16
	// detachTimeout bounds the wait for the server's answer to the detach message.
	detachTimeout = time.Second
)

// errNoInput is the error of a write to an attachment without input.
var errNoInput = errors.New("jobworker: the attachment has no input; open it with Attach")

// Attachment passes input and signals to a job and returns its output. It is an io.WriteCloser for the input.
//
// It continues where it stopped if the connection breaks or the server restarts. No byte of the input or the output is
// lost or duplicated. It fails if the server is unavailable for 30 s.
//
// All methods can be called from any goroutine. Read the output in one goroutine while another one writes: when the
// client has buffered some output, Write waits until it is read.
type Attachment struct {
	// Output is the job's output. Closing it ends the attachment.
	Output *JobStream

	calls   *attachCalls
	output  *attachedOutput
	writing sync.Mutex
	closed  bool
	detach  sync.Once
}

// attach starts an attachment. The context ends it.
func attach(ctx context.Context, calls *attachCalls, stream *resumableStream) *Attachment {
	ctx, cancel := context.WithCancel(ctx)
	output := &attachedOutput{
		chunks: make(chan Chunk, bufferedChunks), ended: make(chan struct{}), offset: stream.position(),
	}
	go output.pump(ctx, cancel, calls, stream)
	return &Attachment{Output: &JobStream{ctx: ctx, cancel: cancel, output: output}, calls: calls, output: output}
}

// Write sends input. It returns when the server has accepted the data, which waits while the job does not read it. After
// Close and after the end of the job, Write returns io.ErrClosedPipe.
//
// Up to four pieces of 64 KiB are sent before the server has answered the first of them. So slices of 256 KiB or more,
// for example from bufio.NewWriterSize, give the highest throughput.
func (a *Attachment) Write(data []byte) (int, error) {
	a.writing.Lock()
	defer a.writing.Unlock()
	if a.calls.input == nil {
		return 0, errNoInput
	}
	if a.closed {
		return 0, io.ErrClosedPipe
	}
	return a.feed(data)
}

// feed sends data in pieces, and returns how many bytes the server has accepted.
func (a *Attachment) feed(data []byte) (int, error) {
	sent, written := 0, 0
	for written < len(data) {
		piece := data[sent:min(sent+maxInputBytes, len(data))]
		parts := a.calls.input.parts
		if len(piece) == 0 {
			parts = nil
		}
		select {
		case parts <- inputPart{data: piece, size: len(piece)}:
			sent += len(piece)
		case size := <-a.calls.input.accepted:
			written += size
		case <-a.output.ended:
			return written, a.output.inputError()
		}
	}
	return written, nil
}

// Close ends the input: the job reads the end of file after the last byte. The output continues. Close returns nil if
// the job has ended.
//
// A job with a terminal can ignore the end. Close sends it once, as Ctrl-D does. Write "\x04" to send it several times.
func (a *Attachment) Close() error {
	a.writing.Lock()
	defer a.writing.Unlock()
	if a.calls.input == nil || a.closed {
		return nil
	}
	a.closed = true
	if err := a.feedEnd(); err != io.ErrClosedPipe {
		return err
	}
	return nil
}

// feedEnd sends the end, and waits until the server has accepted it.
func (a *Attachment) feedEnd() error {
	select {
	case a.calls.input.parts <- inputPart{end: true}:
	case <-a.output.ended:
		return a.output.inputError()
	}
	select {
	case <-a.calls.input.accepted:
		return nil
	case <-a.output.ended:
		return a.output.inputError()
	}
}

// Signal sends a signal, such as SIGINT, to the foreground process group of the job's terminal. Without a terminal, it
// sends it to the process group of the job. Signal waits for a connection, and not for the server's answer: if the
// server refuses the signal, the attachment fails.
func (a *Attachment) Signal(name string) error {
	signal := &jobworkerv1.JobSignal{Name: name}
	return a.control(&jobworkerv1.AttachJobRequest{Kind: &jobworkerv1.AttachJobRequest_Signal{Signal: signal}})
}

// Resize reports the size of the client's terminal in characters. The terminal of the job is as small as the smallest
// terminal of the clients that feed it. Resize waits for a connection.
func (a *Attachment) Resize(columns, rows int) error {
	return a.resize(&jobworkerv1.TerminalSize{Columns: int32(columns), Rows: int32(rows)})
}

// Redraw reports the size as Resize does, and lets the programs in the terminal draw their screen again, also at the same
// size. Call it when the client's terminal has lost its content, for example after the client was suspended.
func (a *Attachment) Redraw(columns, rows int) error {
	return a.resize(&jobworkerv1.TerminalSize{Columns: int32(columns), Rows: int32(rows), Redraw: true})
}

func (a *Attachment) resize(size *jobworkerv1.TerminalSize) error {
	return a.control(&jobworkerv1.AttachJobRequest{Kind: &jobworkerv1.AttachJobRequest_Resize{Resize: size}})
}

// TerminalSize returns the newest size of the job's terminal, and from which offset of the output it holds. It is nil
// until the server has sent the size, and if the job has no terminal. The job's TerminalResizes are all sizes.
func (a *Attachment) TerminalSize() *jobworkerv1.TerminalResize { return a.calls.size.Load() }

// control passes a message to the open call.
func (a *Attachment) control(request *jobworkerv1.AttachJobRequest) error {
	select {
	case a.calls.controls <- request:
		return nil
	case <-a.output.ended:
		return a.output.inputError()
	}
}

// Detach ends the attachment and releases it. The job keeps running, and gets the signals that were sent before. The
// output then ends without a result. Detach always returns nil.
func (a *Attachment) Detach() error {
	a.detach.Do(func() {
		close(a.calls.detaching)
		timeout := time.AfterFunc(detachTimeout, a.Output.cancel)
		defer timeout.Stop()
		message := &jobworkerv1.AttachJobRequest_Detach{Detach: &jobworkerv1.Detach{}}
		_ = a.control(&jobworkerv1.AttachJobRequest{Kind: message})
		<-a.output.ended
	})
	return nil
}

// Result returns the final job after the output has ended, and nil before and after Detach.
func (a *Attachment) Result() *Job { return a.Output.Result() }

// attachedOutput passes the output from the goroutine that receives it to the one that reads it. Input is thus
// sent even if the output is not read at the moment.
type attachedOutput struct {
	chunks chan Chunk
	// ended is closed at the end of the attachment. err and job are then valid.
	ended chan struct{}
	err   error
	job   *Job

	offset int64
}

// pump receives the output until the end of the attachment.
func (o *attachedOutput) pump(ctx context.Context, cancel context.CancelFunc, calls *attachCalls, stream *resumableStream) {
	chunks := o.chunks
	for {
		chunk, err := stream.next(ctx)
		if err != nil {
			o.err, o.job = err, stream.finalJob()
			break
		}
		select {
		case chunks <- chunk:
		case <-calls.detaching:
			// The rest is discarded, so that the end of the call is received.
			chunks = nil
		case <-ctx.Done():
			chunks = nil
		}
	}
	select {
	case <-calls.detaching:
		o.err = io.EOF
	default:
	}
	cancel()
	calls.close()
	close(o.ended)
	close(o.chunks)
}

// inputError returns the error of a write after the end of the attachment.
func (o *attachedOutput) inputError() error {
	if o.err == io.EOF {
		return io.ErrClosedPipe
	}
	return o.err
}

func (o *attachedOutput) next(context.Context) (Chunk, error) {
	chunk, ok := <-o.chunks
	if !ok {
		return Chunk{}, o.err
	}
	o.offset = chunk.end()
	return chunk, nil
}

func (o *attachedOutput) position() int64 { return o.offset }

func (o *attachedOutput) finalJob() *Job {
	select {
	case <-o.ended:
		return o.job
	default:
		return nil
	}
}
