"""The client for threads."""

from collections.abc import Iterable
from typing import Unpack

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworker_client import requests
from jobworker_client.events import EventHandler
from jobworker_client.options import AttachOptions, StreamOptions, WatchFilter
from jobworker_client.resumable_stream import ResumableStream
from jobworker_client.resumable_watch import ResumableWatch
from jobworker_client.sync.attach import SyncAttachedStream
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

    def attach(
        self,
        job_id: str,
        stdin: Iterable[bytes] | None = None,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
        **options: Unpack[AttachOptions],
    ) -> SyncAttachedStream:
        """Return the output of a job like `stream`, and send it the bytes of `stdin`.

        The end of `stdin` ends the input of the job. A separate thread iterates over `stdin`, which can wait
        for what another thread types. The input is sent while the stream is iterated, and it resumes
        like the output. `signal` of the result sends a signal to the job. `on_event` is also called with each
        `TerminalResized`.

        The iteration raises `JobNotFound` if no job has this id, `NoStdin` if the job was created without
        `stdin`, and `StdinInUse` if another client feeds it.

        >>> with SyncClient.from_env() as client:
        ...     job = client.create("sort", stdin=JobStdin.JOB_STDIN_ONCE)
        ...     for chunk in client.attach(job.id, [b"b\\n", b"a\\n"]):
        ...         print(chunk.payload)
        b'a\\nb\\n'
        """
        start = requests.attach_start(job_id, **options)
        return self._attach(start, stdin, on_event, deadline, mixed_sources=False)

    def attach_from(
        self,
        start: job_attach_pb2.AttachStart,
        stdin: Iterable[bytes] | None = None,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
    ) -> SyncAttachedStream:
        """Attach to a job with a generated message. The chunks are the messages of the server.

        The client sets `input_id`.
        """
        return self._attach(start, stdin, on_event, deadline, mixed_sources=True)

    def _attach(
        self,
        start: job_attach_pb2.AttachStart,
        stdin: Iterable[bytes] | None,
        on_event: EventHandler | None,
        deadline: float | None,
        *,
        mixed_sources: bool,
    ) -> SyncAttachedStream:
        request = requests.attached_output(start)
        request.mixed_sources = mixed_sources
        state = ResumableStream(request, deadline=deadline, on_event=on_event, policy=self._retry_policy)
        return SyncAttachedStream(self._connection, state, start, stdin, on_event)

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
