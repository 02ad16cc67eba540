package jobworker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

type (
	request = jobworkerv1.GetJobsStreamRequest
	message = jobworkerv1.GetJobsStreamResponse
)

// script is a server whose every stream goes as the test says, in turn; the last one again and again.
type script struct {
	jobworkerv1.UnimplementedJobServiceServer
	streams []func(*request, func(...*message)) error
	asked   atomic.Int32
}

func (s *script) GetJobsStream(asked *request, stream grpc.ServerStreamingServer[message]) error {
	number := min(int(s.asked.Add(1)), len(s.streams)) - 1
	return s.streams[number](asked, func(messages ...*message) {
		for _, each := range messages {
			// A stream that fails here is one whose reader is gone; the next receive tells.
			_ = stream.Send(each)
		}
	})
}

func output(offset int64, text string) *message {
	return &message{Offset: offset, Payload: []byte(text), Source: jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT}
}

func result() *message {
	return &message{Result: &Job{Id: "7", ExitCode: proto.Int32(3)}}
}

var errAway = status.Error(codes.Unavailable, "away")

func TestReadGoesOnWhereTheStreamBroke(t *testing.T) {
	service := &script{streams: []func(*request, func(...*message)) error{
		func(asked *request, send func(...*message)) error {
			equal(t, asked.GetOffset(), 0)
			send(output(0, "abc"), output(3, "de"))
			return refusal(t, codes.Unavailable, ErrReaderStalled)
		},
		func(*request, func(...*message)) error { return errAway },
		func(asked *request, send func(...*message)) error {
			equal(t, asked.GetOffset(), 5)
			send(output(5, "f"))
			return nil // without a result
		},
		func(asked *request, send func(...*message)) error {
			equal(t, asked.GetOffset(), 6)
			send(output(6, "g"), result())
			return nil
		},
	}}
	stream := connected(t, service).Stream(t.Context(), &request{Id: "7"})
	defer stream.Close()
	equal(t, stream.Result(), nil)
	all, err := io.ReadAll(stream)
	must(t, err)
	equal(t, string(all), "abcdefg")
	equal(t, stream.Offset(), 7)
	equal(t, stream.Result().GetExitCode(), 3)
	equal(t, service.asked.Load(), 4)
}

func TestAMessageOfBothSourcesComesInChunksOfOne(t *testing.T) {
	service := &script{streams: []func(*request, func(...*message)) error{
		func(asked *request, send func(...*message)) error {
			equal(t, asked.GetMixedSources(), true)
			send(output(0, "ab"), &message{
				Offset:         2,
				Payload:        []byte("outerr more"),
				Source:         jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT,
				Time:           timestamppb.New(time.Unix(5, 0)),
				SpanBytes:      []int32{8, 3},
				SpanOffsetUsec: []int64{0, 1_000_000},
				SourceRunBytes: []int32{3, 3, 5},
			})
			return errAway
		},
		func(asked *request, send func(...*message)) error {
			equal(t, asked.GetOffset(), 13)
			send(output(13, "!"), result())
			return nil
		},
	}}
	stream := connected(t, service).Stream(t.Context(), &request{Id: "7"})
	defer stream.Close()
	var found []string
	for chunk, err := range stream.Chunks() {
		must(t, err)
		equal(t, stream.Offset(), chunk.Offset+int64(len(chunk.Data)))
		second := max(chunk.Time.Unix(), 0)
		found = append(found, fmt.Sprintf("%d %s %d %d", chunk.Offset, chunk.Data, chunk.Source, second))
	}
	equal(t, strings.Join(found, "|"), "0 ab 1 0|2 out 1 5|5 err 2 5|8  m 1 5|10 ore 1 6|13 ! 1 0")
}

func TestAMessageOfOneSourceMaySkipTheOther(t *testing.T) {
	service := &script{streams: []func(*request, func(...*message)) error{
		func(asked *request, send func(...*message)) error {
			send(&message{
				Offset:         2,
				Payload:        []byte("out more"),
				Source:         jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT,
				SpanBytes:      []int32{8, 3},
				SpanOffsetUsec: []int64{0, 1_000_000},
				SourceRunBytes: []int32{3, 3, 5},
			}, output(15, "!"), result())
			return nil
		},
	}}
	stdout := jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT
	stream := connected(t, service).Stream(t.Context(), &request{Id: "7", Source: stdout})
	defer stream.Close()
	var found []string
	for chunk, err := range stream.Chunks() {
		must(t, err)
		found = append(found, fmt.Sprintf("%d %s %d", chunk.Offset, chunk.Data, chunk.Source))
	}
	equal(t, strings.Join(found, "|"), "2 out 1|8  m 1|10 ore 1|15 ! 1")
}

func TestReadSurvivesTheServer(t *testing.T) {
	a := newAuthority(t)
	began, ended := make(chan struct{}), make(chan struct{})
	first := &script{streams: []func(*request, func(...*message)) error{
		func(_ *request, send func(...*message)) error {
			send(output(0, "abc"))
			close(began)
			<-ended
			return nil
		},
	}}
	second := &script{streams: []func(*request, func(...*message)) error{
		func(asked *request, send func(...*message)) error {
			equal(t, asked.GetOffset(), 3)
			send(output(3, "def"), result())
			return nil
		},
	}}
	server, address := a.serve(t, "127.0.0.1:0", first, 0)
	stream := a.dial(t, address).Stream(t.Context(), &request{Id: "7"})
	defer stream.Close()
	piece := make([]byte, 2)
	_, err := io.ReadFull(stream, piece)
	must(t, err)
	<-began
	close(ended)
	server.Stop()
	a.serve(t, address, second, 0)
	rest, err := io.ReadAll(stream)
	must(t, err)
	equal(t, string(piece)+string(rest), "abcdef")
}

func TestTailIsAskedForUntilItsPlaceIsKnown(t *testing.T) {
	since := timestamppb.New(time.Unix(1, 0))
	service := &script{streams: []func(*request, func(...*message)) error{
		func(*request, func(...*message)) error { return errAway },
		func(asked *request, send func(...*message)) error {
			equal(t, asked.GetTailLines(), 2)
			equal(t, asked.GetTailBytes(), 9)
			equal(t, asked.GetSince().AsTime().Equal(since.AsTime()), true)
			send(&message{Offset: 100})
			return errAway
		},
		func(asked *request, send func(...*message)) error {
			equal(t, proto.Equal(asked, &request{Id: "7", Offset: 100, MixedSources: true}), true)
			send(output(100, "x"), result())
			return nil
		},
	}}
	wanted := &request{Id: "7", TailLines: proto.Int64(2), TailBytes: proto.Int64(9), Since: since}
	stream := connected(t, service).Stream(t.Context(), wanted)
	defer stream.Close()
	all, err := io.ReadAll(stream)
	must(t, err)
	equal(t, string(all), "x")
	equal(t, wanted.GetTailLines(), 2)
}

func TestChunksSayWhatTheyAre(t *testing.T) {
	when := timestamppb.New(time.Unix(1700000000, 5))
	stderr := jobworkerv1.OutputSource_OUTPUT_SOURCE_STDERR
	service := &script{streams: []func(*request, func(...*message)) error{
		func(asked *request, send func(...*message)) error {
			equal(t, asked.GetSource(), stderr)
			send(
				&message{Truncated: &jobworkerv1.TruncatedRange{ToOffset: 10, Reason: "given up"}},
				&message{Offset: 12, Payload: []byte("e"), Source: stderr, Time: when},
				result(),
			)
			return nil
		},
	}}
	stream := connected(t, service).Stream(t.Context(), &request{Id: "7", Source: stderr})
	defer stream.Close()
	var chunks []Chunk
	for chunk, err := range stream.Chunks() {
		must(t, err)
		chunks = append(chunks, chunk)
	}
	equal(t, len(chunks), 2)
	equal(t, chunks[0].Truncated.GetToOffset(), 10)
	equal(t, chunks[0].Time.IsZero() && len(chunks[0].Data) == 0, true)
	equal(t, chunks[1].Offset, 12)
	equal(t, string(chunks[1].Data), "e")
	equal(t, chunks[1].Source, stderr)
	equal(t, chunks[1].Time.Equal(when.AsTime()), true)
	equal(t, chunks[1].Truncated, nil)
}

func TestReadTellsOfMissingBytesAtItsEnd(t *testing.T) {
	service := &script{streams: []func(*request, func(...*message)) error{
		func(_ *request, send func(...*message)) error {
			missing := &jobworkerv1.TruncatedRange{FromOffset: 1, ToOffset: 4, Reason: "given up"}
			send(output(0, "a"), &message{Offset: 1, Truncated: missing}, output(4, "e"), result())
			return nil
		},
	}}
	stream := connected(t, service).Stream(t.Context(), &request{Id: "7"})
	defer stream.Close()
	all, err := io.ReadAll(stream)
	equal(t, string(all), "ae")
	truncated, ok := errors.AsType[*TruncatedError](err)
	if !ok {
		t.Fatalf("the end is %v", err)
	}
	equal(t, len(truncated.Ranges), 1)
	equal(t, truncated.Error(), "jobworker: 3 bytes of output are missing from byte 1 on: given up (1 such ranges)")
	equal(t, stream.Result().GetId(), "7")
}

func TestOtherBytesThanThoseThatAreDueAreRefused(t *testing.T) {
	for name, offsets := range map[string][2]int64{"gap": {0, 4}, "twice": {0, 2}} {
		t.Run(name, func(t *testing.T) {
			service := &script{streams: []func(*request, func(...*message)) error{
				func(_ *request, send func(...*message)) error {
					send(output(offsets[0], "abc"), output(offsets[1], "def"), result())
					return nil
				},
			}}
			stream := connected(t, service).Stream(t.Context(), &request{Id: "7"})
			defer stream.Close()
			all, err := io.ReadAll(stream)
			equal(t, string(all), "abc")
			equal(t, errors.Is(err, ErrWrongOffset), true)
			equal(t, service.asked.Load(), 1)
		})
	}
}

func TestStreamOfNoJobIsNotRepeated(t *testing.T) {
	service := &script{streams: []func(*request, func(...*message)) error{
		func(*request, func(...*message)) error { return refusal(t, codes.NotFound, ErrJobNotFound) },
	}}
	client := connected(t, service)
	_, err := client.Wait(t.Context(), "7")
	equal(t, errors.Is(err, ErrJobNotFound), true)
	equal(t, service.asked.Load(), 1)
}

func TestStreamGivesUp(t *testing.T) {
	service := &script{streams: []func(*request, func(...*message)) error{
		func(_ *request, send func(...*message)) error { send(output(0, "abc")); return errAway },
		func(*request, func(...*message)) error { return refusal(t, codes.Unavailable, ErrShuttingDown) },
	}}
	client := connected(t, service)
	client.patience = patience{connect: time.Minute, resume: 10 * time.Millisecond, good: time.Minute, pauses: []time.Duration{time.Millisecond}}
	stream := client.Stream(t.Context(), &request{Id: "7"})
	defer stream.Close()
	all, err := io.ReadAll(stream)
	equal(t, string(all), "abc")
	equal(t, errors.Is(err, ErrShuttingDown), true)
}

func TestWaitGoesOnWhenTheServerIsBack(t *testing.T) {
	service := &script{streams: []func(*request, func(...*message)) error{
		func(*request, func(...*message)) error { return errAway },
		func(asked *request, send func(...*message)) error {
			equal(t, asked.GetResultOnly(), true)
			send(result())
			return nil
		},
	}}
	job, err := connected(t, service).Wait(t.Context(), "7")
	must(t, err)
	equal(t, job.GetExitCode(), 3)
}

// following is a server that sends a piece and then nothing, for as long as its caller is there.
type following struct {
	jobworkerv1.UnimplementedJobServiceServer
	left chan struct{}
}

func (f *following) GetJobsStream(_ *request, stream grpc.ServerStreamingServer[message]) error {
	err := stream.Send(output(0, "abc"))
	<-stream.Context().Done()
	close(f.left)
	return err
}

func TestCloseEndsTheCall(t *testing.T) {
	service := &following{left: make(chan struct{})}
	stream := connected(t, service).Stream(t.Context(), &request{Id: "7"})
	_, err := io.ReadFull(stream, make([]byte, 3))
	must(t, err)
	must(t, stream.Close())
	<-service.left
	_, err = stream.Read(make([]byte, 1))
	equal(t, errors.Is(err, context.Canceled), true)
}

func TestContextEndsTheStream(t *testing.T) {
	service := &following{left: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := connected(t, service).Stream(ctx, &request{Id: "7"})
	defer stream.Close()
	for chunk, err := range stream.Chunks() {
		if err == nil {
			equal(t, string(chunk.Data), "abc")
			cancel()
			continue
		}
		equal(t, errors.Is(err, context.Canceled), true)
	}
	<-service.left
}
