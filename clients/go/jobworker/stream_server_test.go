package jobworker

import (
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

type (
	streamRequest = jobworkerv1.GetJobsStreamRequest
	streamMessage = jobworkerv1.GetJobsStreamResponse
	streamHandler = func(req *streamRequest, send func(...*streamMessage)) error
)

// streamServer answers its first stream with the first handler, and so on. The last handler repeats.
type streamServer struct {
	jobworkerv1.UnimplementedJobServiceServer
	handlers []streamHandler
	calls    atomic.Int32
}

func (s *streamServer) GetJobsStream(req *streamRequest, stream grpc.ServerStreamingServer[streamMessage]) error {
	number := min(int(s.calls.Add(1)), len(s.handlers)) - 1
	return s.handlers[number](req, func(messages ...*streamMessage) {
		for _, each := range messages {
			// Send fails only if the client has gone, which the test notices itself.
			_ = stream.Send(each)
		}
	})
}

func output(offset int64, text string) *streamMessage {
	source := jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT
	return &streamMessage{Offset: offset, Kind: payload(text), Source: source}
}

func result() *streamMessage {
	job := &Job{Id: "7", ExitCode: proto.Int32(3)}
	return &streamMessage{Kind: &jobworkerv1.GetJobsStreamResponse_Result{Result: job}}
}

func payload(text string) *jobworkerv1.GetJobsStreamResponse_Payload {
	return &jobworkerv1.GetJobsStreamResponse_Payload{Payload: []byte(text)}
}

func truncation(from, to int64) *streamMessage {
	missing := &jobworkerv1.TruncatedRange{FromOffset: from, ToOffset: to, Reason: "the log is full"}
	return &streamMessage{Offset: from, Kind: &jobworkerv1.GetJobsStreamResponse_Truncated{Truncated: missing}}
}

func startOffset(offset int64) *streamMessage {
	return &streamMessage{Offset: offset, Kind: &jobworkerv1.GetJobsStreamResponse_StartOffset{StartOffset: offset}}
}

var errUnavailable = status.Error(codes.Unavailable, "unavailable")

// blockingServer sends one message and then waits for the end of the call.
type blockingServer struct {
	jobworkerv1.UnimplementedJobServiceServer
	ended chan struct{}
}

func (b *blockingServer) GetJobsStream(_ *streamRequest, stream grpc.ServerStreamingServer[streamMessage]) error {
	err := stream.Send(output(0, "abc"))
	<-stream.Context().Done()
	close(b.ended)
	return err
}
