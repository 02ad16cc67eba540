package jobworker

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// maxMessageBytes has room for a page of 1,000 jobs with long commands. Messages of a stream carry up to
// 256 KiB of output.
const maxMessageBytes = 8 << 20

// connect returns a connection. It does not connect before the first call.
func connect(config Config, policy retryPolicy) (*grpc.ClientConn, error) {
	address, err := config.address()
	if err != nil {
		return nil, err
	}
	security, err := config.tls()
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("dns:///"+address,
		grpc.WithTransportCredentials(credentials.NewTLS(security)),
		grpc.WithUnaryInterceptor(retryUnary(policy)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		// The DNS has no service config for this API, and the query takes a second if no DNS server answers.
		grpc.WithDisableServiceConfig(),
		// Pings detect a dead server after 40 s. They are sent only while a call is open because servers close
		// idle connections that send pings (GOAWAY too_many_pings).
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// The delay stays below those of the retries, so that each retry can find a restarted server.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: 5 * time.Second,
		}),
	)
}
