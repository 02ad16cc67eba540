package jobworker

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// resumableWatch watches jobs over as many calls as needed. Its caller sees neither cursors nor resets: after a
// reset, the snapshot is compared with the known jobs.
type resumableWatch struct {
	service jobworkerv1.JobServiceClient
	retry   streamRetry

	// request is what the next call sends. Its cursor is that of the last bookmark.
	request *jobworkerv1.WatchJobsRequest
	call    grpc.ServerStreamingClient[jobworkerv1.WatchJobsResponse]
	jobs    map[string]*Job
	pending []WatchEvent

	revision int64
	synced   bool
	// unconfirmed has the known jobs that a snapshot has not contained yet.
	unconfirmed map[string]bool
}

// next returns the next event.
func (w *resumableWatch) next(ctx context.Context) (WatchEvent, error) {
	for len(w.pending) == 0 {
		message, err := w.receive(ctx)
		if err == nil {
			w.accept(message)
			continue
		}
		w.call = nil
		if err := w.retry.sleep(ctx, err); err != nil {
			return nil, err
		}
	}
	event := w.pending[0]
	w.pending = w.pending[1:]
	return event, nil
}

// receive returns the next message of the open call, or the first message of a new call.
func (w *resumableWatch) receive(ctx context.Context) (*jobworkerv1.WatchJobsResponse, error) {
	w.retry.start()
	if w.call == nil {
		w.synced = false
		if w.request.GetCursor() == "" {
			w.startSnapshot()
		}
		call, err := w.service.WatchJobs(ctx, w.request)
		if err != nil {
			return nil, err
		}
		w.call = call
		w.retry.callOpened()
	}
	message, err := w.call.Recv()
	if err == io.EOF {
		return nil, status.Error(codes.Unavailable, "the server ended the watch")
	}
	if err == nil {
		w.retry.messageReceived()
	}
	return message, err
}

// accept queues the events of a message. It ignores kinds of messages that it does not know.
func (w *resumableWatch) accept(message *jobworkerv1.WatchJobsResponse) {
	switch kind := message.GetKind().(type) {
	case *jobworkerv1.WatchJobsResponse_Changed:
		w.change(kind.Changed)
	case *jobworkerv1.WatchJobsResponse_Removed:
		if w.isNew(kind.Removed.GetRevision()) {
			w.remove(kind.Removed.GetId(), kind.Removed.GetReason())
		}
	case *jobworkerv1.WatchJobsResponse_Reset_:
		w.request.Cursor, w.synced = "", false
		w.startSnapshot()
	case *jobworkerv1.WatchJobsResponse_Bookmark:
		w.request.Cursor = kind.Bookmark.GetCursor()
		w.sync()
	}
}

func (w *resumableWatch) startSnapshot() {
	w.revision = 0
	w.unconfirmed = map[string]bool{}
	for id := range w.jobs {
		w.unconfirmed[id] = true
	}
}

// isNew reports whether a change was not received before the connection broke. 0 is part of a snapshot.
func (w *resumableWatch) isNew(revision int64) bool {
	if revision != 0 && revision < w.revision {
		return false
	}
	w.revision = max(w.revision, revision)
	return true
}

func (w *resumableWatch) change(change *jobworkerv1.JobChange) {
	if !w.isNew(change.GetRevision()) {
		return
	}
	job := change.GetJob()
	delete(w.unconfirmed, job.GetId())
	if !proto.Equal(w.jobs[job.GetId()], job) {
		w.jobs[job.GetId()] = job
		w.pending = append(w.pending, JobChanged{job})
	}
}

func (w *resumableWatch) remove(id string, reason jobworkerv1.RemovalReason) {
	job := w.jobs[id]
	delete(w.jobs, id)
	if job != nil || reason == jobworkerv1.RemovalReason_REMOVAL_REASON_NOT_FOUND {
		w.pending = append(w.pending, JobRemoved{id, reason, job})
	}
}

// sync removes the jobs that a new snapshot does not have, at its end.
func (w *resumableWatch) sync() {
	for id := range w.unconfirmed {
		w.remove(id, jobworkerv1.RemovalReason_REMOVAL_REASON_UNSPECIFIED)
	}
	w.unconfirmed = nil
	if !w.synced {
		w.synced = true
		w.pending = append(w.pending, WatchSynced{})
	}
}
