// Command run runs a command on the server that the JOBWORKER_ environment variables name. It prints the
// output as it arrives and exits with the job's exit code:
//
//	JOBWORKER_SERVER=localhost:50051 JOBWORKER_CERTS=certs go run ./examples/run sh -c 'echo hello; exit 3'
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
	"github.com/jobworker/jobworker/clients/go/jobworker"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: run COMMAND [ARG]...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, jobworker.ErrRoleRequired) {
			fmt.Fprintln(os.Stderr, "hint: set JOBWORKER_ROLE=admin to use the administrator's certificate")
		}
		code = 125
	}
	os.Exit(code)
}

// run returns the job's exit code, or 128+N if signal N ended the job.
func run(ctx context.Context, command string, args []string) (int, error) {
	client, err := jobworker.FromEnv()
	if err != nil {
		return 0, err
	}
	defer client.Close()

	job, err := client.Create(ctx, &jobworkerv1.CreateJobRequest{
		Command: command, Args: args, MaxCpu: 100, MaxMemory: 64,
	})
	if err != nil {
		return 0, err
	}
	final, err := copyOutput(ctx, client, job.GetId())
	if errors.Is(err, context.Canceled) {
		final, err = client.Stop(context.WithoutCancel(ctx), job.GetId())
	}
	if err != nil {
		return 0, err
	}
	if final.ExitCode == nil {
		return 128 + int(final.GetTermination().GetSignal()), nil
	}
	return int(final.GetExitCode()), nil
}

// copyOutput copies the job's stdout and stderr to this process's, and returns the final job.
func copyOutput(ctx context.Context, client *jobworker.Client, id string) (*jobworker.Job, error) {
	stream := client.Stream(ctx, &jobworkerv1.GetJobsStreamRequest{Id: id})
	defer stream.Close()
	for chunk, err := range stream.Chunks() {
		if err != nil {
			return nil, err
		}
		out := os.Stdout
		if chunk.Source == jobworkerv1.OutputSource_OUTPUT_SOURCE_STDERR {
			out = os.Stderr
		}
		if _, err := out.Write(chunk.Data); err != nil {
			return nil, err
		}
	}
	return stream.Result(), nil
}
