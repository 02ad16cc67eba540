package jobworker

import (
	"fmt"
	"testing"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

func TestSizeAppliesToTheNextCall(t *testing.T) {
	server := newAttachServer(attachFault{2, 0})
	size := &jobworkerv1.TerminalSize{Columns: 10, Rows: 5}
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7", Size: size})
	_, err := attachment.Write([]byte("abc"))
	must(t, err)
	must(t, attachment.Resize(80, 24))
	equal(t, <-server.events, "80x24")
	write(t, attachment, []byte("def"))
	text(t, attachment)
	starts := server.received()
	equal(t, len(starts), 2)
	equal(t, starts[0].GetSize().GetColumns(), 10)
	equal(t, starts[1].GetSize().GetColumns(), 80)
}

func TestNextCallRepeatsARedrawOnce(t *testing.T) {
	server := newAttachServer(attachFault{2, 0}, attachFault{0, 0}, attachFault{1, 0})
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	_, err := attachment.Write([]byte("abc"))
	must(t, err)
	must(t, attachment.Redraw(80, 24))
	equal(t, <-server.events, "80x24 redraw")
	write(t, attachment, []byte("def"))
	equal(t, text(t, attachment), "abcdef")
	var redraw []bool
	for _, start := range server.received() {
		redraw = append(redraw, start.GetRedraw())
		equal(t, start.GetSize().GetRedraw(), false)
	}
	// The server has answered the third call, but not the second one.
	equal(t, fmt.Sprint(redraw), "[false true true false]")
}

func TestTerminalSizeIsTheNewest(t *testing.T) {
	server := newAttachServer()
	server.sizes = []*jobworkerv1.TerminalResize{{Columns: 90, Rows: 24, LogOffset: 5}, {Columns: 80, Rows: 24}}
	attachment := clientOf(t, server).Attach(t.Context(), &attachStart{Id: "7"})
	_, err := attachment.Write([]byte("abc"))
	must(t, err)
	equal(t, attachment.TerminalSize().GetColumns(), 90)
	must(t, attachment.Detach())
}
