package jobworker

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

type watchMessage = jobworkerv1.WatchJobsResponse

// watchServer sends its first script on the first call, and so on, and then breaks the call. The last call stays
// open.
type watchServer struct {
	jobworkerv1.UnimplementedJobServiceServer
	scripts [][]*watchMessage
	cursors chan string
	calls   atomic.Int32
}

func (s *watchServer) WatchJobs(req *jobworkerv1.WatchJobsRequest, stream grpc.ServerStreamingServer[watchMessage]) error {
	number := int(s.calls.Add(1))
	s.cursors <- req.GetCursor()
	for _, message := range s.scripts[number-1] {
		// Send fails only if the client has gone, which the test notices itself.
		_ = stream.Send(message)
	}
	if number == len(s.scripts) {
		<-stream.Context().Done()
	}
	return errUnavailable
}

func watchServerOf(scripts ...[]*watchMessage) *watchServer {
	return &watchServer{scripts: scripts, cursors: make(chan string, len(scripts))}
}

func jobChange(id string, revision int64, status jobworkerv1.JobStatus) *watchMessage {
	change := &jobworkerv1.JobChange{Job: &Job{Id: id, Status: status}, Revision: revision}
	return &watchMessage{Kind: &jobworkerv1.WatchJobsResponse_Changed{Changed: change}}
}

func jobRemoval(id string, revision int64, reason jobworkerv1.RemovalReason) *watchMessage {
	removal := &jobworkerv1.JobRemoval{Id: id, Revision: revision, Reason: reason}
	return &watchMessage{Kind: &jobworkerv1.WatchJobsResponse_Removed{Removed: removal}}
}

func watchBookmark(cursor string) *watchMessage {
	return &watchMessage{Kind: &jobworkerv1.WatchJobsResponse_Bookmark{Bookmark: &jobworkerv1.WatchBookmark{Cursor: cursor}}}
}

func watchReset() *watchMessage {
	return &watchMessage{Kind: &jobworkerv1.WatchJobsResponse_Reset_{Reset_: &jobworkerv1.WatchReset{}}}
}

const (
	statusRunning   = jobworkerv1.JobStatus_JOB_STATUS_RUNNING
	statusCompleted = jobworkerv1.JobStatus_JOB_STATUS_COMPLETED
	reasonDeleted   = jobworkerv1.RemovalReason_REMOVAL_REASON_DELETED
)

// events returns the next events of a watch as text.
func events(t *testing.T, watch *JobWatch, count int) string {
	t.Helper()
	var found []string
	for event, err := range watch.Events() {
		must(t, err)
		switch event := event.(type) {
		case JobChanged:
			found = append(found, fmt.Sprintf("%s %d", event.Job.GetId(), event.Job.GetStatus()))
		case JobRemoved:
			found = append(found, fmt.Sprintf("-%s %d %t", event.ID, event.Reason, event.Job != nil))
		case WatchSynced:
			found = append(found, "synced")
		}
		if len(found) == count {
			break
		}
	}
	return strings.Join(found, "|")
}

func ids(watch *JobWatch) string {
	var found []string
	for id := range watch.Jobs() {
		found = append(found, id)
	}
	sort.Strings(found)
	return strings.Join(found, " ")
}

func TestWatchContinuesAfterTheBookmarkWithoutRepeatedEvents(t *testing.T) {
	server := watchServerOf(
		[]*watchMessage{
			jobChange("a", 0, statusRunning), watchBookmark("x"), jobChange("b", 4, statusRunning), jobRemoval("b", 5, reasonDeleted),
			jobRemoval("unknown", 6, reasonDeleted), {},
		},
		[]*watchMessage{jobChange("b", 4, statusRunning), jobRemoval("b", 5, reasonDeleted), jobChange("a", 7, statusCompleted)},
	)
	watch := clientOf(t, server).Watch(t.Context(), &jobworkerv1.WatchJobsRequest{})
	defer watch.Close()
	equal(t, events(t, watch, 5), "a 2|synced|b 2|-b 1 true|a 3")
	equal(t, ids(watch), "a")
	equal(t, <-server.cursors, "")
	equal(t, <-server.cursors, "x")
}

func TestWatchComparesTheSnapshotAfterAResetWithTheKnownJobs(t *testing.T) {
	missing := jobworkerv1.RemovalReason_REMOVAL_REASON_NOT_FOUND
	server := watchServerOf(
		[]*watchMessage{jobChange("a", 0, statusRunning), jobChange("b", 9, statusRunning), watchBookmark("x")},
		[]*watchMessage{
			watchReset(), jobChange("b", 0, statusCompleted), jobRemoval("c", 0, missing), watchBookmark("y"),
		},
	)
	watch := clientOf(t, server).Watch(t.Context(), &jobworkerv1.WatchJobsRequest{})
	defer watch.Close()
	equal(t, events(t, watch, 7), "a 2|b 2|synced|b 3|-c 5 false|-a 0 true|synced")
	equal(t, ids(watch), "b")
}

func TestWatchRepeatsAnIncompleteSnapshot(t *testing.T) {
	server := watchServerOf(
		[]*watchMessage{jobChange("a", 0, statusRunning), jobChange("b", 0, statusRunning)},
		[]*watchMessage{jobChange("b", 0, statusRunning), watchBookmark("x")},
	)
	watch := clientOf(t, server).Watch(t.Context(), &jobworkerv1.WatchJobsRequest{})
	defer watch.Close()
	equal(t, events(t, watch, 4), "a 2|b 2|-a 0 true|synced")
}

func TestWatchEndsWithARefusal(t *testing.T) {
	server := &refusingServer{}
	watch := clientOf(t, server).Watch(t.Context(), nil)
	defer watch.Close()
	for _, err := range watch.Events() {
		failure, ok := errors.AsType[*Error](err)
		equal(t, ok && failure.Code == codes.PermissionDenied, true)
		return
	}
	t.Error("no error")
}

type refusingServer struct {
	jobworkerv1.UnimplementedJobServiceServer
}

func (*refusingServer) WatchJobs(*jobworkerv1.WatchJobsRequest, grpc.ServerStreamingServer[watchMessage]) error {
	return status.Error(codes.PermissionDenied, "no")
}
