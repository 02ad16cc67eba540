// Command driver runs operations of the client package for tests/interop. It reads one JSON request per line
// from stdin and writes one JSON response per line to stdout.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/jobworker/jobworker/clients/go/jobworker"
)

// operation is a request: the operation and its arguments. Durations are in seconds.
type operation struct {
	Op               string            `json:"op"`
	Deadline         float64           `json:"deadline"`
	Job              json.RawMessage   `json:"job"`
	Limits           json.RawMessage   `json:"limits"`
	ID               string            `json:"id"`
	IDs              []string          `json:"ids"`
	IDPrefix         string            `json:"id_prefix"`
	Owner            string            `json:"owner"`
	CreatedAfter     *time.Time        `json:"created_after"`
	CreatedBefore    *time.Time        `json:"created_before"`
	CommandContains  string            `json:"command_contains"`
	Statuses         []string          `json:"statuses"`
	Labels           map[string]string `json:"labels"`
	PageSize         int32             `json:"page_size"`
	GracePeriod      *float64          `json:"grace_period"`
	Offset           int64             `json:"offset"`
	TailLines        *int64            `json:"tail_lines"`
	TailBytes        *int64            `json:"tail_bytes"`
	Source           string            `json:"source"`
	Follow           *bool             `json:"follow"`
	CancelAfterBytes int64             `json:"cancel_after_bytes"`
	Input            []byte            `json:"input"`
	EOF              *bool             `json:"eof"`
	TakeOver         bool              `json:"take_over"`
	Size             []int32           `json:"size"`
	Signal           string            `json:"signal"`
	Redraw           []int             `json:"redraw"`
	DetachAfterBytes int64             `json:"detach_after_bytes"`
}

// failure is an error of the API in the JSON form that all drivers use.
type failure struct {
	Code     string            `json:"code"`
	Reason   string            `json:"reason"`
	Message  string            `json:"message"`
	Fields   []string          `json:"fields"`
	Metadata map[string]string `json:"metadata"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	client, err := jobworker.FromEnv()
	if err != nil {
		return err
	}
	defer client.Close()
	requests, responses := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var op operation
		if err := requests.Decode(&op); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		response, err := respond(client, op)
		if err != nil {
			return err
		}
		if err := responses.Encode(response); err != nil {
			return err
		}
	}
}

// respond runs an operation. An error of the API is a response; only an invalid request is an error.
func respond(client *jobworker.Client, op operation) (map[string]any, error) {
	ctx := context.Background()
	if op.Deadline > 0 {
		bounded, cancel := context.WithTimeout(ctx, seconds(op.Deadline))
		defer cancel()
		ctx = bounded
	}
	result, err := run(ctx, client, op)
	if callError, ok := errors.AsType[*jobworker.Error](err); ok {
		return map[string]any{"error": describe(callError)}, nil
	}
	return map[string]any{"result": result}, err
}

func describe(err *jobworker.Error) failure {
	described := failure{
		Code:     code.Code(err.Code).String(),
		Reason:   string(err.Reason),
		Message:  err.Message,
		Fields:   []string{},
		Metadata: map[string]string{},
	}
	maps.Copy(described.Metadata, err.Metadata)
	for _, each := range err.Fields {
		described.Fields = append(described.Fields, each.Field)
	}
	return described
}

func seconds(count float64) time.Duration {
	return time.Duration(count * float64(time.Second))
}
