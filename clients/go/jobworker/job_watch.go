package jobworker

import (
	"context"
	"iter"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// WatchEvent is a JobChanged, a JobRemoved or a WatchSynced.
type WatchEvent interface{ isWatchEvent() }

// JobChanged reports a job that matches and is new, or has changed. A running job has no usage.
type JobChanged struct{ Job *Job }

// JobRemoved reports a job that does not match any more, or does not exist.
type JobRemoved struct {
	ID string
	// Reason is unspecified if the job was removed while the server or the client was away.
	Reason jobworkerv1.RemovalReason
	// Job is the last known state, and nil for an id of the request that does not exist.
	Job *Job
}

// WatchSynced reports that all jobs that match are known. It follows the first jobs, and the changes after each
// reconnect.
type WatchSynced struct{}

func (JobChanged) isWatchEvent()  {}
func (JobRemoved) isWatchEvent()  {}
func (WatchSynced) isWatchEvent() {}

// JobWatch returns the jobs that match a request, and then each change. Read it in one goroutine.
//
// The watch continues without a gap if the connection breaks or the server restarts. A slow reader gets the
// newest state of each job, and always the final status. The watch fails if the server is unavailable for 30 s.
type JobWatch struct {
	ctx    context.Context
	cancel context.CancelFunc
	watch  *resumableWatch
}

// Events returns the events as they arrive. The sequence ends after an error, such as the end of the context.
func (w *JobWatch) Events() iter.Seq2[WatchEvent, error] {
	return func(yield func(WatchEvent, error) bool) {
		for {
			event, err := w.watch.next(w.ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

// Jobs returns the jobs that match, by id. The map changes with each event.
func (w *JobWatch) Jobs() map[string]*Job { return w.watch.jobs }

// Close ends the call. It can be called from any goroutine and always returns nil.
func (w *JobWatch) Close() error {
	w.cancel()
	return nil
}
