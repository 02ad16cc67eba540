"""The client for asyncio."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, Unpack

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client import requests
from jobworker_client.aio.connection import Connection
from jobworker_client.aio.stream import Stream
from jobworker_client.base import DEADLINE, BaseClient
from jobworker_client.pages import PAGE_SIZE, Pages
from jobworker_client.requests import JobFilter, JobOptions, LimitChanges, Part, Span
from jobworker_client.resumable_stream import Notify, Reading
from jobworker_client.target import Target

__all__ = ["Client"]


class Client(BaseClient):
    """A connection to a server, for asyncio. Every call that fails raises a `JobWorkerError`.

    A call that is safe to repeat is repeated while the server is away for a moment; all of these are, for
    a job is created with a request id. `deadline`, in seconds, bounds a call with all its attempts.

    >>> async def main() -> None:
    ...     async with Client.from_env() as client:
    ...         limits = Limits(cpu=50, memory=64)
    ...         job = await client.run("sh", "-c", "echo one; echo two", limits=limits)
    ...         async for chunk in client.stream(job.id):
    ...             print(chunk.payload.decode(), end="")
    ...         print(job.exit_code)
    >>> asyncio.run(main())
    one
    two
    0
    """

    def __init__(self, target: Target, *, deadline: float = DEADLINE) -> None:
        """Reads the certificates; the connection is made with the first call.

        Raises:
            CertificateUnusable: a file cannot be read or used; the message says which and why.
            AddressInvalid: `target.server` is not an address.
            RuntimeError: there is no running event loop.
        """
        super().__init__(target, deadline=deadline)
        self._connection = Connection(target)
        self._stub = self._connection.stub

    async def __aenter__(self) -> Self:
        """Returns the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        await self.close()

    async def close(self) -> None:
        """Closes the connection, and ends the calls that are open."""
        await self._connection.close()

    async def create(
        self, command: str, *args: str, deadline: float | None = None, **options: Unpack[JobOptions]
    ) -> job_pb2.Job:
        """Starts a job and returns it, running; `JobOptions` says what else there is to it.

        >>> async def main() -> None:
        ...     async with Client.from_env() as client:
        ...         job = await client.create("sleep", "60", labels={"team": "data"}, timeout=30)
        ...         print(job.labels["team"], JobStatus.Name(job.status))
        ...         stopped = await client.stop(job.id, grace_period=0)
        ...         print(stopped.termination.signal_name)
        >>> asyncio.run(main())
        data JOB_STATUS_RUNNING
        SIGKILL
        """
        request = requests.create_request(command, args, **options)
        return await self.create_from(request, deadline=deadline)

    async def create_from(
        self, request: job_service_pb2.CreateJobRequest, *, deadline: float | None = None
    ) -> job_pb2.Job:
        """Starts the job that the API's own message asks for; an empty `request_id` becomes a new UUID."""
        safe = requests.repeatable(request)
        return (await self._connection.call(self._stub.CreateJob, safe, self._bound(deadline))).job

    async def run(
        self, command: str, *args: str, deadline: float | None = None, **options: Unpack[JobOptions]
    ) -> job_pb2.Job:
        """Starts a job, waits for its end and returns it; its output is there for `stream`, then as before.

        `deadline` bounds the wait. A job that is not waited for any more, because the deadline has passed
        or the task was cancelled, goes on: give it a `timeout`, or use `create`, `wait` and `stop`.
        """
        job = await self.create(command, *args, **options)
        return await self.wait(job.id, deadline=deadline)

    async def get(self, job_id: str, *, deadline: float | None = None) -> job_pb2.Job:
        """Returns a job as it is now.

        >>> async def main() -> None:
        ...     async with Client.from_env() as client:
        ...         try:
        ...             await client.get("019a0000-0000-7000-8000-000000000000")
        ...         except JobNotFound as error:
        ...             print(error.code, error.reason)
        >>> asyncio.run(main())
        NOT_FOUND JOB_NOT_FOUND
        """
        request = job_service_pb2.GetJobRequest(id=job_id)
        return (await self._connection.call(self._stub.GetJob, request, self._bound(deadline))).job

    async def list(
        self,
        *,
        limit: int | None = None,
        page_size: int = PAGE_SIZE,
        deadline: float | None = None,
        **which: Unpack[JobFilter],
    ) -> AsyncIterator[job_pb2.Job]:
        """Yields the jobs that fit, newest first, up to `limit`, of as many pages as it takes.

        `deadline` is that of each page.

        >>> async def main() -> None:
        ...     async with Client.from_env() as client:
        ...         made = [await client.run("true", labels={"kind": "shown"}) for _ in range(3)]
        ...         found = [job.id async for job in client.list(labels={"kind": "shown"}, limit=3)]
        ...         print(found == [job.id for job in reversed(made)])
        >>> asyncio.run(main())
        True
        """
        pages = Pages(requests.list_request(**which), limit=limit, page_size=page_size)
        while (request := pages.ask()) is not None:
            for job in pages.take(
                await self._connection.call(self._stub.ListJobs, request, self._bound(deadline))
            ):
                yield job

    async def stop(
        self, job_id: str, *, grace_period: Span | None = None, deadline: float | None = None
    ) -> job_pb2.Job:
        """Ends a job and returns it, final. One that had ended is returned as it is.

        It takes as long as the job's grace period (`grace_period`, if given) and is bounded by `deadline`
        alone; when that passes, the job goes on being stopped.
        """
        request = requests.stop_request(job_id, grace_period)
        return (await self._connection.call(self._stub.StopJob, request, deadline)).job

    async def update(
        self, job_id: str, *, deadline: float | None = None, **changes: Unpack[LimitChanges]
    ) -> job_pb2.Job:
        """Changes limits of a job that runs, and returns it with what the kernel made of them."""
        return await self.update_from(requests.update_request(job_id, **changes), deadline=deadline)

    async def update_from(
        self, request: job_service_pb2.UpdateJobRequest, *, deadline: float | None = None
    ) -> job_pb2.Job:
        """Changes the limits that the API's own message names."""
        return (await self._connection.call(self._stub.UpdateJob, request, self._bound(deadline))).job

    async def wait(
        self, job_id: str, *, deadline: float | None = None, notify: Notify | None = None
    ) -> job_pb2.Job:
        """Returns a job once it has ended, however long that takes and often the connection breaks.

        `notify` is told of each time that it is made anew.
        """
        stream = self.stream_from(requests.result_request(job_id), deadline=deadline, notify=notify)
        async for _ in stream:
            pass
        return stream.result

    def stream(
        self,
        job_id: str,
        *,
        deadline: float | None = None,
        notify: Notify | None = None,
        **part: Unpack[Part],
    ) -> Stream:
        """Returns the job's output, or a part of it, and its result: see `Stream` and `Part`.

        >>> async def main() -> None:
        ...     async with Client.from_env() as client:
        ...         job = await client.run("sh", "-c", "printf 12345; exit 3", limits=Limits(memory=64))
        ...         async with client.stream(job.id, offset=2) as stream:
        ...             async for chunk in stream:
        ...                 print(chunk.offset, chunk.payload)
        ...         print(stream.result.exit_code, stream.truncated)
        >>> asyncio.run(main())
        2 b'345'
        3 ()
        """
        return self.stream_from(requests.stream_request(job_id, **part), deadline=deadline, notify=notify)

    def stream_from(
        self,
        request: job_service_pb2.GetJobsStreamRequest,
        *,
        deadline: float | None = None,
        notify: Notify | None = None,
    ) -> Stream:
        """Returns the output that the API's own message asks for."""
        return Stream(self._connection, Reading(request, deadline=deadline, notify=notify))
