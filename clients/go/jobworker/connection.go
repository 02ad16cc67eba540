package jobworker

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// Messages carry up to 256 KiB of output; 8 MiB is room for a page of 1,000 jobs with long commands.
const maxMessageBytes = 8 << 20

// connect makes the connection; nothing is sent before the first call.
func connect(config Config) (*grpc.ClientConn, error) {
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
		grpc.WithUnaryInterceptor(repeated),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		// There is none in the DNS, and asking for it takes a second where no DNS answers.
		grpc.WithDisableServiceConfig(),
		// A server that is gone without a word is noticed after 40 s. Pings are sent only while a call is
		// open: servers end connections that are pinged for nothing (GOAWAY too_many_pings).
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	)
}
