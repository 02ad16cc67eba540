package jobworker

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// retryUnary is a grpc.UnaryClientInterceptor that retries a call while the server is unavailable. All unary
// methods are safe to retry because Create sends a request id. The returned error is an *Error.
//
// gRPC's own retries would also retry handshakes that a certificate makes fail every time, and would add
// text to the server's message.
func retryUnary(policy retryPolicy) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, response any, connection *grpc.ClientConn,
		invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		backoff := policy.callBackoff
		if isLongWait(request) {
			backoff = nil
		}
		for attempt := 0; ; attempt++ {
			err := invoke(ctx, method, request, response, connection, options...)
			if err == nil {
				return nil
			}
			failure := fromRPC(err)
			failure.retries = attempt
			if !failure.Retryable() || attempt == len(backoff) {
				return failure
			}
			if err := sleepBeforeRetry(ctx, failure, backoff[attempt]); err != nil {
				return err
			}
		}
	}
}

// isLongWait reports whether a request waits for the end of a job. Client.Wait retries such a call for longer.
func isLongWait(request any) bool {
	wait, ok := request.(*jobworkerv1.WaitJobRequest)
	return ok && wait.GetTimeout() == nil
}

// sleep waits before the next attempt. It returns an error if the call must not be retried.
func (r *streamRetry) sleep(ctx context.Context, err error) error {
	failure := fromRPC(err)
	if !failure.Retryable() {
		return failure
	}
	delay, ok := r.nextDelay()
	if !ok {
		return failure
	}
	return sleepBeforeRetry(ctx, failure, delay)
}

// sleepBeforeRetry waits for the delay. It returns an error if the context ends first.
func sleepBeforeRetry(ctx context.Context, failure *Error, delay time.Duration) error {
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		ended := status.FromContextError(ctx.Err())
		return fromRPC(status.Errorf(ended.Code(), "%s; last error: %s", ended.Message(), failure.Message))
	}
}
