package jobworker

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// The pauses between a call's attempts: together more than the second that the server takes to start an
// API process anew, and little enough to wait for where there is no server at all.
func pauses() []time.Duration {
	return []time.Duration{
		100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
	}
}

// repeated is a grpc.UnaryClientInterceptor that makes a call again while the server is away, which is safe
// for all of ours: Create sends a request id. The error is an *Error.
//
// gRPC's own retries would go on over a certificate that will not do either, and put words of their own
// before the server's.
func repeated(ctx context.Context, method string, request, response any, connection *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	for attempt := 0; ; attempt++ {
		err := invoke(ctx, method, request, response, connection, options...)
		if err == nil {
			return nil
		}
		failure := fromRPC(err)
		if !failure.passing() || attempt == len(pauses()) {
			return failure
		}
		if err := waitAfter(ctx, failure, pauses()[attempt]); err != nil {
			return err
		}
	}
}

// waitAfter waits between two attempts, and fails when the context ends.
func waitAfter(ctx context.Context, failure *Error, pause time.Duration) error {
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		ended := status.FromContextError(ctx.Err())
		return fromRPC(status.Errorf(ended.Code(), "%s, after: %s", ended.Message(), failure.Message))
	}
}
