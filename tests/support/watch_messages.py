"""Messages of WatchJobs, for scripted servers."""

from jobworker.v1 import job_pb2, job_watch_pb2

WatchRequest = job_watch_pb2.WatchJobsRequest
WatchMessage = job_watch_pb2.WatchJobsResponse


def changed(job: job_pb2.Job, revision: int = 0) -> WatchMessage:
    """Return a message with the state of a job; 0 = in a snapshot."""
    return WatchMessage(changed=job_watch_pb2.JobChange(job=job, revision=revision))


def removed(
    job_id: str,
    revision: int,
    reason: job_watch_pb2.RemovalReason.ValueType = job_watch_pb2.REMOVAL_REASON_DELETED,
) -> WatchMessage:
    """Return a message with the removal of a job."""
    return WatchMessage(removed=job_watch_pb2.JobRemoval(id=job_id, reason=reason, revision=revision))


def bookmark(cursor: str) -> WatchMessage:
    """Return a message with a cursor."""
    return WatchMessage(bookmark=job_watch_pb2.WatchBookmark(cursor=cursor))


def reset() -> WatchMessage:
    """Return a message that starts a new snapshot."""
    return WatchMessage(reset=job_watch_pb2.WatchReset(reason="the server has restarted since"))
