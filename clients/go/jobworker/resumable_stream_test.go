package jobworker

import (
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestReadResumesAfterABrokenCall(t *testing.T) {
	server := &streamServer{handlers: []streamHandler{
		func(req *streamRequest, send func(...*streamMessage)) error {
			equal(t, req.GetOffset(), 0)
			send(output(0, "abc"), output(3, "de"))
			return serverError(t, codes.Unavailable, ErrReaderStalled)
		},
		func(*streamRequest, func(...*streamMessage)) error { return errUnavailable },
		func(req *streamRequest, send func(...*streamMessage)) error {
			equal(t, req.GetOffset(), 5)
			send(output(5, "f"))
			return nil // without a result
		},
		func(req *streamRequest, send func(...*streamMessage)) error {
			equal(t, req.GetOffset(), 6)
			send(output(6, "g"), result())
			return nil
		},
	}}
	stream := clientOf(t, server).Stream(t.Context(), &streamRequest{Id: "7"})
	defer stream.Close()
	equal(t, stream.Result(), nil)
	all, err := io.ReadAll(stream)
	must(t, err)
	equal(t, string(all), "abcdefg")
	equal(t, stream.Offset(), 7)
	equal(t, stream.Result().GetExitCode(), 3)
	equal(t, server.calls.Load(), 4)
}

func TestReadResumesAfterAServerRestart(t *testing.T) {
	a := newAuthority(t)
	began, ended := make(chan struct{}), make(chan struct{})
	first := &streamServer{handlers: []streamHandler{
		func(_ *streamRequest, send func(...*streamMessage)) error {
			send(output(0, "abc"))
			close(began)
			<-ended
			return nil
		},
	}}
	second := &streamServer{handlers: []streamHandler{
		func(req *streamRequest, send func(...*streamMessage)) error {
			equal(t, req.GetOffset(), 3)
			send(output(3, "def"), result())
			return nil
		},
	}}
	server, address := a.serve(t, "127.0.0.1:0", first, 0)
	stream := a.dial(t, address).Stream(t.Context(), &streamRequest{Id: "7"})
	defer stream.Close()
	start := make([]byte, 2)
	_, err := io.ReadFull(stream, start)
	must(t, err)
	<-began
	close(ended)
	server.Stop()
	a.serve(t, address, second, 0)
	rest, err := io.ReadAll(stream)
	must(t, err)
	equal(t, string(start)+string(rest), "abcdef")
}

func TestTailIsRequestedUntilItsOffsetIsKnown(t *testing.T) {
	since := timestamppb.New(time.Unix(1, 0))
	server := &streamServer{handlers: []streamHandler{
		func(*streamRequest, func(...*streamMessage)) error { return errUnavailable },
		func(req *streamRequest, send func(...*streamMessage)) error {
			equal(t, req.GetTailLines(), 2)
			equal(t, req.GetTailBytes(), 9)
			equal(t, req.GetSince().AsTime().Equal(since.AsTime()), true)
			send(startOffset(100))
			return errUnavailable
		},
		func(req *streamRequest, send func(...*streamMessage)) error {
			equal(t, proto.Equal(req, &streamRequest{Id: "7", Offset: 100, MixedSources: true}), true)
			send(output(100, "x"), result())
			return nil
		},
	}}
	original := &streamRequest{Id: "7", TailLines: proto.Int64(2), TailBytes: proto.Int64(9), Since: since}
	stream := clientOf(t, server).Stream(t.Context(), original)
	defer stream.Close()
	all, err := io.ReadAll(stream)
	must(t, err)
	equal(t, string(all), "x")
	equal(t, original.GetTailLines(), 2)
}

func TestUnexpectedOffsetIsAnError(t *testing.T) {
	for name, offsets := range map[string][2]int64{"gap": {0, 4}, "overlap": {0, 2}} {
		t.Run(name, func(t *testing.T) {
			server := &streamServer{handlers: []streamHandler{
				func(_ *streamRequest, send func(...*streamMessage)) error {
					send(output(offsets[0], "abc"), output(offsets[1], "def"), result())
					return nil
				},
			}}
			stream := clientOf(t, server).Stream(t.Context(), &streamRequest{Id: "7"})
			defer stream.Close()
			all, err := io.ReadAll(stream)
			equal(t, string(all), "abc")
			equal(t, errors.Is(err, ErrUnexpectedOffset), true)
			equal(t, server.calls.Load(), 1)
		})
	}
}

func TestErrorThatIsNotRetryableEndsTheStream(t *testing.T) {
	server := &streamServer{handlers: []streamHandler{
		func(*streamRequest, func(...*streamMessage)) error {
			return serverError(t, codes.NotFound, ErrJobNotFound)
		},
	}}
	stream := clientOf(t, server).Stream(t.Context(), &streamRequest{Id: "7"})
	defer stream.Close()
	_, err := io.ReadAll(stream)
	equal(t, errors.Is(err, ErrJobNotFound), true)
	equal(t, server.calls.Load(), 1)
}

func TestStreamFailsAfterTheResumeTimeout(t *testing.T) {
	server := &streamServer{handlers: []streamHandler{
		func(_ *streamRequest, send func(...*streamMessage)) error {
			send(output(0, "abc"))
			return errUnavailable
		},
		func(*streamRequest, func(...*streamMessage)) error {
			return serverError(t, codes.Unavailable, ErrShuttingDown)
		},
	}}
	client := clientOf(t, server)
	client.policy.resumeTimeout = 10 * time.Millisecond
	client.policy.streamBackoff = milliseconds(1)
	stream := client.Stream(t.Context(), &streamRequest{Id: "7"})
	defer stream.Close()
	all, err := io.ReadAll(stream)
	equal(t, string(all), "abc")
	equal(t, errors.Is(err, ErrShuttingDown), true)
}
