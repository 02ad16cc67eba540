// Command driver does what the lines of its standard input say with the client package, and answers each
// with a line: it is how the project's own tests compare the clients of all languages.
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

// request is one line: what to do, and the arguments of that. Times are in seconds.
type request struct {
	Op               string            `json:"op"`
	Deadline         float64           `json:"deadline"`
	Job              json.RawMessage   `json:"job"`
	ID               string            `json:"id"`
	IDPrefix         string            `json:"id_prefix"`
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
}

// failure is an error of the API's, as all drivers write it.
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
	lines, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var asked request
		if err := lines.Decode(&asked); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		answer, err := answerTo(client, asked)
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

// answerTo fails where the request makes no sense; what the API refuses is an answer.
func answerTo(client *jobworker.Client, asked request) (map[string]any, error) {
	ctx := context.Background()
	if asked.Deadline > 0 {
		limited, cancel := context.WithTimeout(ctx, seconds(asked.Deadline))
		defer cancel()
		ctx = limited
	}
	result, err := perform(ctx, client, asked)
	if refused, ok := errors.AsType[*jobworker.Error](err); ok {
		return map[string]any{"error": describe(refused)}, nil
	}
	return map[string]any{"result": result}, err
}

func describe(refused *jobworker.Error) failure {
	described := failure{
		Code:     code.Code(refused.Code).String(),
		Reason:   string(refused.Reason),
		Message:  refused.Message,
		Fields:   []string{},
		Metadata: map[string]string{},
	}
	maps.Copy(described.Metadata, refused.Metadata)
	for _, each := range refused.Fields {
		described.Fields = append(described.Fields, each.Field)
	}
	return described
}

func seconds(count float64) time.Duration {
	return time.Duration(count * float64(time.Second))
}
