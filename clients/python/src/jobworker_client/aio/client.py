"""The client for asyncio."""

from collections.abc import AsyncIterable
from typing import Unpack

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworker_client import requests
from jobworker_client.aio.attach import AttachedStream
from jobworker_client.aio.calls import JobCalls
from jobworker_client.aio.stream import JobStream
from jobworker_client.aio.watch import JobWatch
from jobworker_client.events import EventHandler
from jobworker_client.options import AttachOptions, StreamOptions, WatchFilter
from jobworker_client.resumable_stream import ResumableStream
from jobworker_client.resumable_watch import ResumableWatch

__all__ = ["Client"]


class Client(JobCalls):
    """A connection to a server, for asyncio. A failed call raises a `JobWorkerError`.

    Every method is idempotent, because `create` sends a request id. Calls are therefore retried while the
    server is unavailable. `deadline` bounds a call including its retries, in seconds.

    >>> async def main() -> None:
    ...     async with Client.from_env() as client:
    ...         limits = Limits(max_cpu=50, max_memory=64)
    ...         job = await client.run("sh", "-c", "echo one; echo two", limits=limits)
    ...         async for chunk in client.stream(job.id):
    ...             print(chunk.payload.decode(), end="")
    ...         print(job.exit_code)
    >>> asyncio.run(main())
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
    ) -> JobWatch:
        """Return the jobs that match the filter, and then each change; see `WatchStatus`.

        There is no default deadline. `on_event` is called with each `Reconnecting`.

        Raises:
            ValueError: a time of the filter has no time zone.

        >>> async def main() -> None:
        ...     async with Client.from_env() as client:
        ...         job = await client.create("true", labels={"kind": "watched"})
        ...         async with client.watch(ids=[job.id]) as watch:
        ...             async for event in watch:
        ...                 if isinstance(event, JobChanged) and event.job.HasField("exit_code"):
        ...                     print(event.job.exit_code)
        ...                     break
        >>> asyncio.run(main())
        0
        """
        request = requests.watch_request(**watch_filter)
        state = ResumableWatch(request, deadline=deadline, on_event=on_event, policy=self._retry_policy)
        return JobWatch(self._connection, state)

    def stream(
        self,
        job_id: str,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
        **options: Unpack[StreamOptions],
    ) -> JobStream:
        """Return the output of a job, then the job as `result`; see `StreamStatus` and `StreamOptions`.

        There is no default deadline. `on_event` is called with each `TruncatedRange` and `Reconnecting`.

        The iteration raises `JobNotFound` if no job has this id, and `OffsetOutOfRange` if `offset` is past
        the end of the output.

        Raises:
            ValueError: `since` has no time zone.

        >>> async def main() -> None:
        ...     async with Client.from_env() as client:
        ...         job = await client.run("sh", "-c", "printf 12345; exit 3", limits=Limits(max_memory=64))
        ...         async with client.stream(job.id, offset=2) as stream:
        ...             async for chunk in stream:
        ...                 print(chunk.offset, chunk.payload)
        ...         print(stream.result.exit_code, stream.truncated)
        >>> asyncio.run(main())
        2 b'345'
        3 ()
        """
        return self.stream_from(
            requests.stream_request(job_id, **options), deadline=deadline, on_event=on_event
        )

    def attach(
        self,
        job_id: str,
        stdin: AsyncIterable[bytes] | None = None,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
        **options: Unpack[AttachOptions],
    ) -> AttachedStream:
        """Return the output of a job like `stream`, and send it the bytes of `stdin`.

        The end of `stdin` ends the input of the job. The input is sent while the stream is iterated, and it
        resumes like the output. `signal` of the result sends a signal to the job. `on_event` is also called
        with each `TerminalResized`.

        The iteration raises `JobNotFound` if no job has this id, `NoStdin` if the job was created without
        `stdin`, and `StdinInUse` if another client feeds it.

        >>> from collections.abc import AsyncIterator
        >>> async def main() -> None:
        ...     async def lines() -> AsyncIterator[bytes]:
        ...         yield b"b\\n"
        ...         yield b"a\\n"
        ...     async with Client.from_env() as client:
        ...         job = await client.create("sort", stdin=JobStdin.JOB_STDIN_ONCE)
        ...         async for chunk in client.attach(job.id, lines()):
        ...             print(chunk.payload)
        >>> asyncio.run(main())
        b'a\\nb\\n'
        """
        start = requests.attach_start(job_id, **options)
        return self._attach(start, stdin, on_event, deadline, mixed_sources=False)

    def attach_from(
        self,
        start: job_attach_pb2.AttachStart,
        stdin: AsyncIterable[bytes] | None = None,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
    ) -> AttachedStream:
        """Attach to a job with a generated message. The chunks are the messages of the server.

        The client sets `input_id`.
        """
        return self._attach(start, stdin, on_event, deadline, mixed_sources=True)

    def _attach(
        self,
        start: job_attach_pb2.AttachStart,
        stdin: AsyncIterable[bytes] | None,
        on_event: EventHandler | None,
        deadline: float | None,
        *,
        mixed_sources: bool,
    ) -> AttachedStream:
        request = requests.attached_output(start)
        request.mixed_sources = mixed_sources
        state = ResumableStream(request, deadline=deadline, on_event=on_event, policy=self._retry_policy)
        return AttachedStream(self._connection, state, start, stdin, on_event)

    def stream_from(
        self,
        request: job_service_pb2.GetJobsStreamRequest,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
    ) -> JobStream:
        """Return the output of a job for a generated request."""
        state = ResumableStream(request, deadline=deadline, on_event=on_event, policy=self._retry_policy)
        return JobStream(self._connection, state)
