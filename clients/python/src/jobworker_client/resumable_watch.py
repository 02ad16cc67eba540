"""Watch jobs over as many connections as needed.

`ResumableWatch` builds the requests, keeps the jobs and decides about retries. It makes no calls. The user of
a watch never sees a cursor or a reset: after a reset, the snapshot is compared with the known jobs.
"""

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

from jobworker.v1 import job_pb2, job_watch_pb2
from jobworker_client.errors import ClientReason, ConnectionLost
from jobworker_client.events import EventHandler, JobChanged, JobRemoved, WatchEvent, WatchSynced
from jobworker_client.resumable_call import ResumableCall
from jobworker_client.retry_policy import RetryPolicy

__all__ = ["ResumableWatch", "WatchMessage", "WatchRequest", "WatchStatus"]

WatchRequest = job_watch_pb2.WatchJobsRequest
WatchMessage = job_watch_pb2.WatchJobsResponse


class ResumableWatch(ResumableCall[WatchRequest, WatchMessage, WatchEvent]):
    """State of one watcher: the jobs that match, and the events that the caller has not consumed yet."""

    def __init__(
        self,
        request: WatchRequest,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
        policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(deadline=deadline, on_event=on_event, policy=policy)
        self.jobs: dict[str, job_pb2.Job] = {}
        self._watched = WatchRequest()
        self._watched.CopyFrom(request)
        self._events: deque[WatchEvent] = deque()
        self._revision = 0
        self._synced = False
        self._unconfirmed: set[str] | None = None

    def _request(self) -> WatchRequest:
        self._synced = False
        request = WatchRequest()
        request.CopyFrom(self._watched)
        if not request.cursor:
            # The first snapshot was not complete, or none has arrived.
            self._start_snapshot()
        return request

    def _process(self, message: WatchMessage) -> None:
        match message.WhichOneof("kind"):
            case "changed":
                self._change(message.changed)
            case "removed":
                if message.removed.revision >= self._revision or not message.removed.revision:
                    self._revision = max(self._revision, message.removed.revision)
                    self._remove(message.removed.id, message.removed.reason)
            case "reset":
                self._watched.cursor = ""
                self._synced = False
                self._start_snapshot()
            case "bookmark":
                self._watched.cursor = message.bookmark.cursor
                self._sync()

    def next_item(self) -> WatchEvent | None:
        """Return the next event of the last message; None after the last one."""
        return self._events.popleft() if self._events else None

    def commit(self) -> None:
        """Do nothing: an event that the caller does not consume stays here after a reconnect."""

    def end_of_call(self) -> ConnectionLost:
        """Return the error for a watch that the server has ended."""
        return ConnectionLost(
            "the server ended the watch", reason=ClientReason.CONNECTION_LOST, retryable=True
        )

    def _start_snapshot(self) -> None:
        self._revision = 0
        self._unconfirmed = set(self.jobs)

    def _change(self, change: job_watch_pb2.JobChange) -> None:
        if 0 < change.revision < self._revision:
            return  # sent again after the bookmark of the last call
        self._revision = max(self._revision, change.revision)
        job = change.job
        if self._unconfirmed is not None:
            self._unconfirmed.discard(job.id)
        if self.jobs.get(job.id) != job:
            self.jobs[job.id] = job
            self._events.append(JobChanged(job))

    def _remove(self, job_id: str, reason: job_watch_pb2.RemovalReason.ValueType) -> None:
        job = self.jobs.pop(job_id, None)
        if job is not None or reason == job_watch_pb2.REMOVAL_REASON_NOT_FOUND:
            self._events.append(JobRemoved(job_id, reason, job))

    def _sync(self) -> None:
        """Remove the jobs that a new snapshot does not have, at its end."""
        for job_id in sorted(self._unconfirmed or ()):
            self._remove(job_id, job_watch_pb2.REMOVAL_REASON_UNSPECIFIED)
        self._unconfirmed = None
        if not self._synced:
            self._synced = True
            self._events.append(WatchSynced())


class WatchStatus:
    """The jobs that match a filter: first all of them, then each change, without an end.

    The iteration yields `JobChanged` and `JobRemoved`. `WatchSynced` follows the first jobs, and the changes
    after a reconnect. `jobs` has all jobs that match, by id.

    The iteration continues without a gap if the connection breaks or the server restarts. A slow client gets
    the newest state of each job, and always the final status. The `on_event` handler is called with each
    `Reconnecting`.

    The iteration raises `JobWorkerError` if the server refuses the request, or stays away for too long. Close
    a watch: use it as a context manager, or call `close`.
    """

    def __init__(self, state: ResumableWatch) -> None:
        self._state = state

    @property
    def jobs(self) -> Mapping[str, job_pb2.Job]:
        """The jobs that match, by id."""
        return MappingProxyType(self._state.jobs)
