// Command stubs runs a command with the generated stubs alone, without package jobworker. It shows how to switch
// on the enum of the limits, on the kind of a stream's messages, and on the reason of an error:
//
//	JOBWORKER_SERVER=localhost:50051 JOBWORKER_CERTS=certs go run ./examples/stubs sh -c 'echo hello; exit 3'
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: stubs COMMAND [ARG]...")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, advice(err))
		os.Exit(125)
	}
}

func run(ctx context.Context, command string, args []string) error {
	connection, err := dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	service := jobworkerv1.NewJobServiceClient(connection)

	created, err := service.CreateJob(ctx, &jobworkerv1.CreateJobRequest{
		Command: command, Args: args, MaxCpu: 100, MaxMemory: 64,
	})
	if err != nil {
		return err
	}
	for _, limit := range created.GetJob().GetAppliedLimits() {
		fmt.Println(describe(limit))
	}
	return follow(ctx, service, created.GetJob().GetId())
}

// describe returns a line about a limit.
func describe(limit *jobworkerv1.AppliedLimit) string {
	state := "in force"
	if !limit.GetInForce() {
		state = "not in force: " + limit.GetReason()
	}
	switch limit.GetLimit() {
	case jobworkerv1.Limit_LIMIT_MAX_CPU:
		return "CPU limit: " + state
	case jobworkerv1.Limit_LIMIT_MAX_MEMORY:
		return "memory limit: " + state
	default:
		return limit.GetLimit().String() + ": " + state
	}
}

// follow prints every message of a job's output by its kind.
func follow(ctx context.Context, service jobworkerv1.JobServiceClient, id string) error {
	tail := int64(1000)
	stream, err := service.GetJobsStream(ctx, &jobworkerv1.GetJobsStreamRequest{Id: id, TailLines: &tail})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch kind := message.GetKind().(type) {
		case *jobworkerv1.GetJobsStreamResponse_StartOffset:
			fmt.Println("output starts at offset", kind.StartOffset)
		case *jobworkerv1.GetJobsStreamResponse_Payload:
			fmt.Printf("%v: %q\n", message.GetSource(), kind.Payload)
		case *jobworkerv1.GetJobsStreamResponse_Truncated:
			fmt.Println("output is missing:", kind.Truncated.GetReason())
		case *jobworkerv1.GetJobsStreamResponse_Result:
			fmt.Println("exit code", kind.Result.GetExitCode())
		}
	}
}

// advice returns a sentence that depends on the reason of an error.
func advice(err error) string {
	switch reasonOf(err) {
	case jobworkerv1.ErrorReason_ERROR_REASON_COMMAND_NOT_STARTED:
		return "check the command: " + status.Convert(err).Message()
	case jobworkerv1.ErrorReason_ERROR_REASON_ROLE_REQUIRED:
		return "use another certificate: " + status.Convert(err).Message()
	case jobworkerv1.ErrorReason_ERROR_REASON_TOO_MANY_JOBS, jobworkerv1.ErrorReason_ERROR_REASON_HOST_EXHAUSTED:
		return "try again later: " + status.Convert(err).Message()
	default:
		return err.Error()
	}
}

// reasonOf returns the reason in the error's details.
func reasonOf(err error) jobworkerv1.ErrorReason {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return jobworkerv1.ErrorReason(jobworkerv1.ErrorReason_value["ERROR_REASON_"+info.GetReason()])
		}
	}
	return jobworkerv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// dial connects with the certificates in a directory that `jobworkerd certs init` created.
func dial() (*grpc.ClientConn, error) {
	certs := cmp.Or(os.Getenv("JOBWORKER_CERTS"), "/opt/job-worker/certs")
	role := cmp.Or(os.Getenv("JOBWORKER_ROLE"), "admin")
	ca, err := os.ReadFile(filepath.Join(certs, "ca.pem"))
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(certs, role+".pem"), filepath.Join(certs, role+"-key.pem"))
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(ca)
	security := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: authorities, Certificates: []tls.Certificate{pair}}
	server := cmp.Or(os.Getenv("JOBWORKER_SERVER"), "localhost:50051")
	return grpc.NewClient("dns:///"+server, grpc.WithTransportCredentials(credentials.NewTLS(security)))
}
