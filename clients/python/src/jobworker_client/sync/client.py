"""The client for threads."""

from typing import Unpack

from jobworker.v1 import job_service_pb2
from jobworker_client import requests
from jobworker_client.events import EventHandler
from jobworker_client.options import StreamOptions, WatchFilter
from jobworker_client.resumable_stream import ResumableStream
from jobworker_client.resumable_watch import ResumableWatch
from jobworker_client.sync.calls import SyncJobCalls
from jobworker_client.sync.stream import SyncJobStream
from jobworker_client.sync.watch import SyncJobWatch

__all__ = ["SyncClient"]


class SyncClient(SyncJobCalls):
    """A connection to a server; thread-safe. A failed call raises a `JobWorkerError`.

    Every method is idempotent, because `create` sends a request id. Calls are therefore retried while the
    server is unavailable. `deadline` bounds a call including its retries, in seconds.

    >>> with SyncClient.from_env() as client:
    ...     limits = Limits(max_cpu=50, max_memory=64)
    ...     job = client.run("sh", "-c", "echo one; echo two", limits=limits)
    ...     for chunk in client.stream(job.id):
    ...         print(chunk.payload.decode(), end="")
    ...     print(job.exit_code)
    one
    two
    0
    """

    def watch(
        self,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
        **watch_filter: Unpack[WatchFilter],
    ) -> SyncJobWatch:
        """Return the jobs that match the filter, and then each change; see `WatchStatus`.

        There is no default deadline. `on_event` is called with each `Reconnecting`.

        Raises:
            ValueError: a time of the filter has no time zone.

        >>> with SyncClient.from_env() as client:
        ...     job = client.create("true", labels={"kind": "watched"})
        ...     with client.watch(ids=[job.id]) as watch:
        ...         for event in watch:
        ...             if isinstance(event, JobChanged) and event.job.HasField("exit_code"):
        ...                 print(event.job.exit_code)
        ...                 break
        0
        """
        request = requests.watch_request(**watch_filter)
        state = ResumableWatch(request, deadline=deadline, on_event=on_event, policy=self._retry_policy)
        return SyncJobWatch(self._connection, state)

    def stream(
        self,
        job_id: str,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
        **options: Unpack[StreamOptions],
    ) -> SyncJobStream:
        """Return the output of a job, then the job as `result`; see `StreamStatus` and `StreamOptions`.

        There is no default deadline. `on_event` is called with each `TruncatedRange` and `Reconnecting`.

        The iteration raises `JobNotFound` if no job has this id, and `OffsetOutOfRange` if `offset` is past
        the end of the output.

        Raises:
            ValueError: `since` has no time zone.

        >>> with SyncClient.from_env() as client:
        ...     job = client.run("sh", "-c", "printf 12345; exit 3", limits=Limits(max_memory=64))
        ...     with client.stream(job.id, offset=2) as stream:
        ...         for chunk in stream:
        ...             print(chunk.offset, chunk.payload)
        ...     print(stream.result.exit_code, stream.truncated)
        2 b'345'
        3 ()
        """
        return self.stream_from(
            requests.stream_request(job_id, **options), deadline=deadline, on_event=on_event
        )

    def stream_from(
        self,
        request: job_service_pb2.GetJobsStreamRequest,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
    ) -> SyncJobStream:
        """Return the output of a job for a generated request."""
        state = ResumableStream(request, deadline=deadline, on_event=on_event, policy=self._retry_policy)
        return SyncJobStream(self._connection, state)
