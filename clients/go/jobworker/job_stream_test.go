package jobworker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

func TestMixedMessageIsSplitBySourceAndTime(t *testing.T) {
	server := &streamServer{handlers: []streamHandler{
		func(req *streamRequest, send func(...*streamMessage)) error {
			equal(t, req.GetMixedSources(), true)
			send(output(0, "ab"), &streamMessage{
				Offset:         2,
				Kind:           payload("outerr more"),
				Source:         jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT,
				Time:           timestamppb.New(time.Unix(5, 0)),
				SpanBytes:      []int32{8, 3},
				SpanOffsetUsec: []int64{0, 1_000_000},
				SourceRunBytes: []int32{3, 3, 5},
			})
			return errUnavailable
		},
		func(req *streamRequest, send func(...*streamMessage)) error {
			equal(t, req.GetOffset(), 13)
			send(output(13, "!"), result())
			return nil
		},
	}}
	stream := clientOf(t, server).Stream(t.Context(), &streamRequest{Id: "7"})
	defer stream.Close()
	var lines []string
	for chunk, err := range stream.Chunks() {
		must(t, err)
		equal(t, stream.Offset(), chunk.Offset+int64(len(chunk.Data)))
		second := max(chunk.Time.Unix(), 0)
		lines = append(lines, fmt.Sprintf("%d %s %d %d", chunk.Offset, chunk.Data, chunk.Source, second))
	}
	equal(t, strings.Join(lines, "|"), "0 ab 1 0|2 out 1 5|5 err 2 5|8  m 1 5|10 ore 1 6|13 ! 1 0")
}

func TestMessageOfOneSourceCanSkipTheOther(t *testing.T) {
	server := &streamServer{handlers: []streamHandler{
		func(req *streamRequest, send func(...*streamMessage)) error {
			send(&streamMessage{
				Offset:         2,
				Kind:           payload("out more"),
				Source:         jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT,
				SpanBytes:      []int32{8, 3},
				SpanOffsetUsec: []int64{0, 1_000_000},
				SourceRunBytes: []int32{3, 3, 5},
			}, output(15, "!"), result())
			return nil
		},
	}}
	stdout := jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT
	stream := clientOf(t, server).Stream(t.Context(), &streamRequest{Id: "7", Source: stdout})
	defer stream.Close()
	var lines []string
	for chunk, err := range stream.Chunks() {
		must(t, err)
		lines = append(lines, fmt.Sprintf("%d %s %d", chunk.Offset, chunk.Data, chunk.Source))
	}
	equal(t, strings.Join(lines, "|"), "2 out 1|8  m 1|10 ore 1|15 ! 1")
}

func TestChunksHaveOffsetSourceAndTime(t *testing.T) {
	when := timestamppb.New(time.Unix(1700000000, 5))
	stderr := jobworkerv1.OutputSource_OUTPUT_SOURCE_STDERR
	server := &streamServer{handlers: []streamHandler{
		func(req *streamRequest, send func(...*streamMessage)) error {
			equal(t, req.GetSource(), stderr)
			send(
				truncation(0, 10),
				&streamMessage{Offset: 12, Kind: payload("e"), Source: stderr, Time: when},
				result(),
			)
			return nil
		},
	}}
	stream := clientOf(t, server).Stream(t.Context(), &streamRequest{Id: "7", Source: stderr})
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

func TestReadReportsTruncatedRangesAtTheEnd(t *testing.T) {
	server := &streamServer{handlers: []streamHandler{
		func(_ *streamRequest, send func(...*streamMessage)) error {
			send(output(0, "a"), truncation(1, 4), output(4, "e"), result())
			return nil
		},
	}}
	stream := clientOf(t, server).Stream(t.Context(), &streamRequest{Id: "7"})
	defer stream.Close()
	all, err := io.ReadAll(stream)
	equal(t, string(all), "ae")
	truncated, ok := errors.AsType[*TruncatedError](err)
	if !ok {
		t.Fatalf("unexpected error: %v", err)
	}
	equal(t, len(truncated.Ranges), 1)
	equal(t, truncated.Error(), "jobworker: output is truncated: 3 bytes are missing at offset 1: the log is full (1 ranges in total)")
	equal(t, stream.Result().GetId(), "7")
}

func TestCloseEndsTheCall(t *testing.T) {
	server := &blockingServer{ended: make(chan struct{})}
	stream := clientOf(t, server).Stream(t.Context(), &streamRequest{Id: "7"})
	_, err := io.ReadFull(stream, make([]byte, 3))
	must(t, err)
	must(t, stream.Close())
	<-server.ended
	_, err = stream.Read(make([]byte, 1))
	equal(t, errors.Is(err, context.Canceled), true)
}

func TestContextEndsTheStream(t *testing.T) {
	server := &blockingServer{ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := clientOf(t, server).Stream(ctx, &streamRequest{Id: "7"})
	defer stream.Close()
	for chunk, err := range stream.Chunks() {
		if err == nil {
			equal(t, string(chunk.Data), "abc")
			cancel()
			continue
		}
		equal(t, errors.Is(err, context.Canceled), true)
	}
	<-server.ended
}
