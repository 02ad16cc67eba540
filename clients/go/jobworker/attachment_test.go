package jobworker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

type attachStart = jobworkerv1.AttachStart

// expectNoGoroutines fails the test if an attachment leaves a goroutine.
func expectNoGoroutines(t *testing.T) {
	t.Helper()
	var stacks string
	for range 100 {
		buffer := make([]byte, 1<<20)
		stacks = string(buffer[:runtime.Stack(buffer, true)])
		if !strings.Contains(stacks, "(*attachCall).send") && !strings.Contains(stacks, "(*attachedOutput).pump") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("goroutines are left:\n%s", stacks)
}

// text returns the output of an attachment.
func text(t *testing.T, attachment *Attachment) string {
	t.Helper()
	all, err := io.ReadAll(attachment.Output)
	must(t, err)
	return string(all)
}

// write writes and closes the input in another goroutine.
func write(t *testing.T, attachment *Attachment, data ...[]byte) {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for _, each := range data {
			count, err := attachment.Write(each)
			equal(t, count, len(each))
			equal(t, err, nil)
		}
		equal(t, attachment.Close(), nil)
	}()
}

func TestInputAndOutputAreExactOverBrokenCalls(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 30_000)
	for name, faults := range map[string][]attachFault{
		"none":                       {},
		"before the first answer":    {{0, 0}, {0, 0}},
		"before a part is accepted":  {{1, 0}, {2, 0}},
		"in the middle of a part":    {{1, 1000}, {1, 1}, {4, 30_000}, {3, 0}},
		"before the answer":          {{1, maxInputBytes}, {2, maxInputBytes}},
		"before the end is accepted": {{part: 10}, {part: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			server := newAttachServer(faults...)
			attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
			write(t, attachment, large, []byte("end!"))
			equal(t, text(t, attachment), server.text())
			equal(t, server.text(), string(large)+"end!")
			equal(t, attachment.Result().GetExitCode(), 3)
			for _, start := range server.received() {
				equal(t, start.GetInputId(), server.received()[0].GetInputId())
			}
			equal(t, len(server.received()), len(faults)+1)
			expectNoGoroutines(t)
		})
	}
}

func TestInputIsSentBeforeTheOutputIsRead(t *testing.T) {
	server := newAttachServer()
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	for _, line := range []string{"one\n", "two\n"} {
		_, err := io.WriteString(attachment, line)
		must(t, err)
	}
	must(t, attachment.Close())
	equal(t, text(t, attachment), "one\ntwo\n")
}

func TestInputOfAJobThatHasClosedItsStdinIsDropped(t *testing.T) {
	server := newAttachServer(attachFault{2, 0}, attachFault{2, 0})
	server.closedStdin = true
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	for range 3 {
		_, err := attachment.Write([]byte("unread"))
		must(t, err)
	}
	must(t, attachment.Close())
	equal(t, len(server.received()), 3)
}

func TestRefusedInputEndsTheAttachment(t *testing.T) {
	server := newAttachServer()
	server.refusal = serverError(t, codes.OutOfRange, ErrInputOffsetOutOfRange)
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	count, err := attachment.Write([]byte("gap"))
	equal(t, count, 0)
	equal(t, errors.Is(err, ErrInputOffsetOutOfRange), true)
	_, err = io.ReadAll(attachment.Output)
	equal(t, errors.Is(err, ErrInputOffsetOutOfRange), true)
	equal(t, errors.Is(attachment.Signal("INT"), ErrInputOffsetOutOfRange), true)
	equal(t, errors.Is(attachment.Close(), ErrInputOffsetOutOfRange), true)
	equal(t, len(server.received()), 1)
	expectNoGoroutines(t)
}

func TestStdinIsTakenOverUntilTheServerAnswers(t *testing.T) {
	server := newAttachServer(attachFault{0, 0}, attachFault{1, 0})
	start := &attachStart{Id: "7", TakeOver: true, Redraw: true, InputId: "mine", TailBytes: proto.Int64(5)}
	attachment := clientOf(t, server).Attach(t.Context(), start)
	write(t, attachment, []byte("abc"))
	text(t, attachment)
	var takeOver, redraw, tail []bool
	for _, each := range server.received() {
		equal(t, each.GetInputId(), "mine")
		takeOver, redraw = append(takeOver, each.GetTakeOver()), append(redraw, each.GetRedraw())
		tail = append(tail, each.TailBytes != nil)
	}
	equal(t, len(takeOver), 3)
	for number, flags := range [][]bool{takeOver, redraw} {
		equal(t, flags[0] && flags[1], true)
		if flags[2] {
			t.Errorf("flag %d is set after the answer", number)
		}
	}
	equal(t, tail[0], true)
	equal(t, start.GetTakeOver(), true)
}

func TestDetachEndsTheCallAfterTheSignals(t *testing.T) {
	server := newAttachServer()
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	_, err := attachment.Write([]byte("abc"))
	must(t, err)
	must(t, attachment.Signal("USR1"))
	must(t, attachment.Resize(80, 24))
	must(t, attachment.Detach())
	for _, want := range []string{"USR1", "80x24", "detach", "end"} {
		equal(t, <-server.events, want)
	}
	equal(t, text(t, attachment), "abc")
	equal(t, attachment.Result(), nil)
	_, err = attachment.Write([]byte("more"))
	equal(t, err, io.ErrClosedPipe)
	equal(t, attachment.Signal("USR1"), io.ErrClosedPipe)
	must(t, attachment.Close())
	must(t, attachment.Detach())
	equal(t, len(server.received()), 1)
	expectNoGoroutines(t)
}

func TestFourPartsAreSentUntilTheServerAnswers(t *testing.T) {
	server := newAttachServer()
	server.silent = true
	ctx, cancel := context.WithCancel(t.Context())
	attachment := clientOf(t, server).Attach(ctx, &attachStart{Id: "7"})
	written := make(chan error)
	go func() {
		count, err := attachment.Write(make([]byte, 6*maxInputBytes))
		equal(t, count, 0)
		written <- err
	}()
	for range maxUnanswered {
		equal(t, <-server.events, "input 65536")
	}
	must(t, attachment.Signal("INT"))
	equal(t, <-server.events, "INT")
	cancel()
	equal(t, errors.Is(<-written, context.Canceled), true)
	equal(t, <-server.events, "end")
	_, err := io.ReadAll(attachment.Output)
	equal(t, errors.Is(err, context.Canceled), true)
	must(t, attachment.Detach())
	expectNoGoroutines(t)
}

func TestClosingTheOutputDetaches(t *testing.T) {
	server := newAttachServer()
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	_, err := attachment.Write([]byte("abc"))
	must(t, err)
	must(t, attachment.Output.Close())
	equal(t, <-server.events, "end")
	_, err = attachment.Write([]byte("def"))
	equal(t, errors.Is(err, context.Canceled), true)
	expectNoGoroutines(t)
}

func TestDetachWhileTheServerIsAway(t *testing.T) {
	server := newAttachServer(make([]attachFault, 100)...)
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	for range 3 {
		equal(t, <-server.events, "end")
	}
	// The client now waits for 500 ms before the next call.
	time.Sleep(50 * time.Millisecond)
	must(t, attachment.Detach())
	equal(t, text(t, attachment), "")
	expectNoGoroutines(t)
}

func TestDetachFromAServerThatDoesNotAnswer(t *testing.T) {
	server := newAttachServer()
	server.silent = true
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	must(t, attachment.Detach())
	equal(t, <-server.events, "detach")
	equal(t, <-server.events, "end")
	expectNoGoroutines(t)
}

func TestDetachWithUnreadOutput(t *testing.T) {
	server := newAttachServer()
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	written := make(chan error)
	go func() {
		_, err := attachment.Write(make([]byte, 4*bufferedChunks*maxInputBytes))
		written <- err
	}()
	for len(attachment.output.chunks) < bufferedChunks {
		time.Sleep(time.Millisecond)
	}
	must(t, attachment.Detach())
	equal(t, <-written, io.ErrClosedPipe)
	expectNoGoroutines(t)
}

func TestAttachmentWithoutInput(t *testing.T) {
	server := newAttachServer()
	attachment := clientOf(t, server).AttachWithoutInput(t.Context(), &attachStart{Id: "7", InputId: "ignored"})
	must(t, attachment.Signal("INT"))
	equal(t, <-server.events, "INT")
	_, err := attachment.Write([]byte("abc"))
	equal(t, err, errNoInput)
	must(t, attachment.Close())
	must(t, attachment.Detach())
	equal(t, server.received()[0].GetInputId(), "")
}

func TestWriteFailsWhenTheJobEnds(t *testing.T) {
	server := newAttachServer()
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	write(t, attachment, []byte("abc"))
	equal(t, text(t, attachment), "abc")
	_, err := attachment.Write([]byte("late"))
	equal(t, err, io.ErrClosedPipe)
	must(t, attachment.Detach())
	equal(t, attachment.Result().GetExitCode(), 3)
}
