package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
	"github.com/jobworker/jobworker/clients/go/jobworker"
)

func perform(ctx context.Context, client *jobworker.Client, asked request) (any, error) {
	switch asked.Op {
	case "create":
		wanted := &jobworkerv1.CreateJobRequest{}
		if err := protojson.Unmarshal(asked.Job, wanted); err != nil {
			return nil, err
		}
		return inJSON(client.Create(ctx, wanted))
	case "get":
		return inJSON(client.Get(ctx, asked.ID))
	case "list":
		return list(ctx, client, asked)
	case "stop":
		if asked.GracePeriod != nil {
			return inJSON(client.StopWithin(ctx, asked.ID, seconds(*asked.GracePeriod)))
		}
		return inJSON(client.Stop(ctx, asked.ID))
	case "wait":
		return inJSON(client.Wait(ctx, asked.ID))
	case "stream":
		return stream(ctx, client, asked)
	}
	return nil, fmt.Errorf("there is no operation %q", asked.Op)
}

func inJSON(job *jobworker.Job, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	text, err := protojson.Marshal(job)
	return json.RawMessage(text), err
}

func list(ctx context.Context, client *jobworker.Client, asked request) (any, error) {
	wanted := &jobworkerv1.ListJobsRequest{PageSize: asked.PageSize, Labels: asked.Labels, IdPrefix: asked.IDPrefix}
	for _, name := range asked.Statuses {
		wanted.Statuses = append(wanted.Statuses, jobworkerv1.JobStatus(jobworkerv1.JobStatus_value[name]))
	}
	ids := []string{}
	for job, err := range client.List(ctx, wanted) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, job.GetId())
	}
	return map[string][]string{"ids": ids}, nil
}

// streamed is what came of a stream: how much, from where up to where, and what was missing.
type streamed struct {
	SHA256    string     `json:"sha256"`
	Bytes     int64      `json:"bytes"`
	Begin     int64      `json:"begin"`
	End       int64      `json:"end"`
	Truncated [][2]int64 `json:"truncated"`
	Job       any        `json:"job"`
}

func stream(ctx context.Context, client *jobworker.Client, asked request) (any, error) {
	output := client.Stream(ctx, &jobworkerv1.GetJobsStreamRequest{
		Id:        asked.ID,
		Offset:    asked.Offset,
		TailLines: asked.TailLines,
		TailBytes: asked.TailBytes,
		Follow:    asked.Follow,
		Source:    sources[asked.Source],
	})
	defer output.Close()
	found, digest := streamed{Truncated: [][2]int64{}}, sha256.New()
	for chunk, err := range output.Chunks() {
		if err != nil {
			return nil, err
		}
		digest.Write(chunk.Data)
		found.add(chunk)
		if asked.CancelAfterBytes > 0 && found.Bytes >= asked.CancelAfterBytes {
			break
		}
	}
	if found.Bytes == 0 {
		found.Begin, found.End = output.Offset(), output.Offset()
	}
	found.SHA256 = hex.EncodeToString(digest.Sum(nil))
	var err error
	if job := output.Result(); job != nil {
		found.Job, err = inJSON(job, nil)
	}
	return found, err
}

var sources = map[string]jobworkerv1.OutputSource{
	"stdout": jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT,
	"stderr": jobworkerv1.OutputSource_OUTPUT_SOURCE_STDERR,
}

func (s *streamed) add(chunk jobworker.Chunk) {
	if missing := chunk.Truncated; missing != nil {
		s.Truncated = append(s.Truncated, [2]int64{missing.GetFromOffset(), missing.GetToOffset()})
		return
	}
	if s.Bytes == 0 {
		s.Begin = chunk.Offset
	}
	s.Bytes += int64(len(chunk.Data))
	s.End = chunk.Offset + int64(len(chunk.Data))
}
