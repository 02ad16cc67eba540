package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
	"github.com/jobworker/jobworker/clients/go/jobworker"
)

func run(ctx context.Context, client *jobworker.Client, op operation) (any, error) {
	switch op.Op {
	case "create":
		request := &jobworkerv1.CreateJobRequest{}
		if err := protojson.Unmarshal(op.Job, request); err != nil {
			return nil, err
		}
		return jobJSON(client.Create(ctx, request))
	case "get":
		return jobJSON(client.Get(ctx, op.ID))
	case "list":
		return list(ctx, client, op)
	case "update":
		return update(ctx, client, op)
	case "stop":
		if op.GracePeriod != nil {
			return jobJSON(client.StopWithin(ctx, op.ID, seconds(*op.GracePeriod)))
		}
		return jobJSON(client.Stop(ctx, op.ID))
	case "delete":
		return struct{}{}, client.Delete(ctx, op.ID)
	case "wait":
		return jobJSON(client.Wait(ctx, op.ID))
	case "watch":
		return watch(ctx, client, op.IDs)
	case "stream":
		return stream(ctx, client, op)
	case "attach":
		return attach(ctx, client, op)
	}
	return nil, fmt.Errorf("unknown operation %q", op.Op)
}

func jobJSON(job *jobworker.Job, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	text, err := protojson.Marshal(job)
	return json.RawMessage(text), err
}

func update(ctx context.Context, client *jobworker.Client, op operation) (any, error) {
	request := &jobworkerv1.UpdateJobRequest{}
	if err := protojson.Unmarshal(op.Limits, request); err != nil {
		return nil, err
	}
	request.Id = op.ID
	return jobJSON(client.Update(ctx, request))
}

func list(ctx context.Context, client *jobworker.Client, op operation) (any, error) {
	request := &jobworkerv1.ListJobsRequest{
		PageSize:        op.PageSize,
		Labels:          op.Labels,
		IdPrefix:        op.IDPrefix,
		Owner:           op.Owner,
		CreatedAfter:    timestamp(op.CreatedAfter),
		CreatedBefore:   timestamp(op.CreatedBefore),
		CommandContains: op.CommandContains,
	}
	for _, name := range op.Statuses {
		request.Statuses = append(request.Statuses, jobworkerv1.JobStatus(jobworkerv1.JobStatus_value[name]))
	}
	ids := []string{}
	for job, err := range client.List(ctx, request) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, job.GetId())
	}
	return map[string][]string{"ids": ids}, nil
}

func timestamp(at *time.Time) *timestamppb.Timestamp {
	if at == nil {
		return nil
	}
	return timestamppb.New(*at)
}

// watch returns the jobs that exist when each of them has ended.
func watch(ctx context.Context, client *jobworker.Client, ids []string) (any, error) {
	events := client.Watch(ctx, &jobworkerv1.WatchJobsRequest{Ids: ids})
	defer events.Close()
	ended := map[string]*jobworker.Job{}
	for event, err := range events.Events() {
		if err != nil {
			return nil, err
		}
		switch event := event.(type) {
		case jobworker.JobChanged:
			if event.Job.GetEndTime() != nil {
				ended[event.Job.GetId()] = event.Job
			}
		case jobworker.JobRemoved:
			ended[event.ID] = nil
		}
		if len(ended) == len(ids) {
			break
		}
	}
	jobs := []any{}
	for _, id := range ids {
		if job := ended[id]; job != nil {
			text, err := jobJSON(job, nil)
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, text)
		}
	}
	return map[string]any{"jobs": jobs}, nil
}

// streamed describes the received output: its hash, its size, its offsets and the truncated ranges.
type streamed struct {
	SHA256    string     `json:"sha256"`
	Bytes     int64      `json:"bytes"`
	Begin     int64      `json:"begin"`
	End       int64      `json:"end"`
	Truncated [][2]int64 `json:"truncated"`
	Job       any        `json:"job"`
}

func stream(ctx context.Context, client *jobworker.Client, op operation) (any, error) {
	output := client.Stream(ctx, &jobworkerv1.GetJobsStreamRequest{
		Id:        op.ID,
		Offset:    op.Offset,
		TailLines: op.TailLines,
		TailBytes: op.TailBytes,
		Follow:    op.Follow,
		Source:    sources[op.Source],
	})
	defer output.Close()
	return read(output, op.CancelAfterBytes, func() error { return nil })
}

// read describes the output until its end, or until the limit unless it is 0. onFirst is called with the first chunk.
func read(output *jobworker.JobStream, limit int64, onFirst func() error) (any, error) {
	received, digest := streamed{Truncated: [][2]int64{}}, sha256.New()
	for chunk, err := range output.Chunks() {
		if err != nil {
			return nil, err
		}
		if received.Bytes == 0 {
			if err := onFirst(); err != nil {
				return nil, err
			}
		}
		digest.Write(chunk.Data)
		received.add(chunk)
		if limit > 0 && received.Bytes >= limit {
			break
		}
	}
	if received.Bytes == 0 {
		received.Begin, received.End = output.Offset(), output.Offset()
	}
	received.SHA256 = hex.EncodeToString(digest.Sum(nil))
	var err error
	if job := output.Result(); job != nil {
		received.Job, err = jobJSON(job, nil)
	}
	return received, err
}

var sources = map[string]jobworkerv1.OutputSource{
	"stdout": jobworkerv1.OutputSource_OUTPUT_SOURCE_STDOUT,
	"stderr": jobworkerv1.OutputSource_OUTPUT_SOURCE_STDERR,
}

func (s *streamed) add(chunk jobworker.Chunk) {
	if truncated := chunk.Truncated; truncated != nil {
		s.Truncated = append(s.Truncated, [2]int64{truncated.GetFromOffset(), truncated.GetToOffset()})
		return
	}
	if s.Bytes == 0 {
		s.Begin = chunk.Offset
	}
	s.Bytes += int64(len(chunk.Data))
	s.End = chunk.Offset + int64(len(chunk.Data))
}
