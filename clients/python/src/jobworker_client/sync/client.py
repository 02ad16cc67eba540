"""The client for programs without asyncio, and for threads."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self, Unpack

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client import requests
from jobworker_client.base import DEADLINE, BaseClient
from jobworker_client.pages import PAGE_SIZE, Pages
from jobworker_client.requests import JobFilter, JobOptions, LimitChanges, Part, Span
from jobworker_client.resumable_stream import Notify, Reading
from jobworker_client.sync.connection import Connection
from jobworker_client.sync.stream import SyncStream
from jobworker_client.target import Target

__all__ = ["SyncClient"]


class SyncClient(BaseClient):
    """A connection to a server. Every call that fails raises a `JobWorkerError`.

    A call that is safe to repeat is repeated while the server is away for a moment; all of these are, for
    a job is created with a request id. `deadline`, in seconds, bounds a call with all its attempts.
    It may be used by several threads.

    >>> with SyncClient.from_env() as client:
    ...     limits = Limits(cpu=50, memory=64)
    ...     job = client.run("sh", "-c", "echo one; echo two", limits=limits)
    ...     for chunk in client.stream(job.id):
    ...         print(chunk.payload.decode(), end="")
    ...     print(job.exit_code)
    one
    two
    0
    """

    def __init__(self, target: Target, *, deadline: float = DEADLINE) -> None:
        """Reads the certificates; the connection is made with the first call.

        Raises:
            CertificateUnusable: a file cannot be read or used; the message says which and why.
            AddressInvalid: `target.server` is not an address.
        """
        super().__init__(target, deadline=deadline)
        self._connection = Connection(target)
        self._stub = self._connection.stub

    def __enter__(self) -> Self:
        """Returns the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.close()

    def close(self) -> None:
        """Closes the connection, and ends the calls that are open."""
        self._connection.close()

    def create(
        self, command: str, *args: str, deadline: float | None = None, **options: Unpack[JobOptions]
    ) -> job_pb2.Job:
        """Starts a job and returns it, running; `JobOptions` says what else there is to it.

        >>> with SyncClient.from_env() as client:
        ...     job = client.create("sleep", "60", labels={"team": "data"}, timeout=30)
        ...     print(job.labels["team"], JobStatus.Name(job.status))
        ...     stopped = client.stop(job.id, grace_period=0)
        ...     print(stopped.termination.signal_name)
        data JOB_STATUS_RUNNING
        SIGKILL
        """
        request = requests.create_request(command, args, **options)
        return self.create_from(request, deadline=deadline)

    def create_from(
        self, request: job_service_pb2.CreateJobRequest, *, deadline: float | None = None
    ) -> job_pb2.Job:
        """Starts the job that the API's own message asks for; an empty `request_id` becomes a new UUID."""
        safe = requests.repeatable(request)
        return self._connection.call(self._stub.CreateJob, safe, self._bound(deadline)).job

    def run(
        self, command: str, *args: str, deadline: float | None = None, **options: Unpack[JobOptions]
    ) -> job_pb2.Job:
        """Starts a job, waits for its end and returns it; its output is there for `stream`, then as before.

        `deadline` bounds the wait. A job that is not waited for any more, because the deadline has passed
        or an exception came in between, goes on: give it a `timeout`, or use `create`, `wait` and `stop`.
        """
        job = self.create(command, *args, **options)
        return self.wait(job.id, deadline=deadline)

    def get(self, job_id: str, *, deadline: float | None = None) -> job_pb2.Job:
        """Returns a job as it is now.

        >>> with SyncClient.from_env() as client:
        ...     try:
        ...         client.get("019a0000-0000-7000-8000-000000000000")
        ...     except JobNotFound as error:
        ...         print(error.code, error.reason)
        NOT_FOUND JOB_NOT_FOUND
        """
        request = job_service_pb2.GetJobRequest(id=job_id)
        return self._connection.call(self._stub.GetJob, request, self._bound(deadline)).job

    def list(
        self,
        *,
        limit: int | None = None,
        page_size: int = PAGE_SIZE,
        deadline: float | None = None,
        **which: Unpack[JobFilter],
    ) -> Iterator[job_pb2.Job]:
        """Yields the jobs that fit, newest first, up to `limit`, of as many pages as it takes.

        `deadline` is that of each page.

        >>> with SyncClient.from_env() as client:
        ...     made = [client.run("true", labels={"kind": "shown"}) for _ in range(3)]
        ...     found = [job.id for job in client.list(labels={"kind": "shown"}, limit=3)]
        ...     print(found == [job.id for job in reversed(made)])
        True
        """
        pages = Pages(requests.list_request(**which), limit=limit, page_size=page_size)
        while (request := pages.ask()) is not None:
            page = self._connection.call(self._stub.ListJobs, request, self._bound(deadline))
            yield from pages.take(page)

    def stop(
        self, job_id: str, *, grace_period: Span | None = None, deadline: float | None = None
    ) -> job_pb2.Job:
        """Ends a job and returns it, final. One that had ended is returned as it is.

        It takes as long as the job's grace period (`grace_period`, if given) and is bounded by `deadline`
        alone; when that passes, the job goes on being stopped.
        """
        request = requests.stop_request(job_id, grace_period)
        return self._connection.call(self._stub.StopJob, request, deadline).job

    def update(
        self, job_id: str, *, deadline: float | None = None, **changes: Unpack[LimitChanges]
    ) -> job_pb2.Job:
        """Changes limits of a job that runs, and returns it with what the kernel made of them."""
        return self.update_from(requests.update_request(job_id, **changes), deadline=deadline)

    def update_from(
        self, request: job_service_pb2.UpdateJobRequest, *, deadline: float | None = None
    ) -> job_pb2.Job:
        """Changes the limits that the API's own message names."""
        return self._connection.call(self._stub.UpdateJob, request, self._bound(deadline)).job

    def wait(
        self, job_id: str, *, deadline: float | None = None, notify: Notify | None = None
    ) -> job_pb2.Job:
        """Returns a job once it has ended, however long that takes and often the connection breaks.

        `notify` is told of each time that it is made anew.
        """
        stream = self.stream_from(requests.result_request(job_id), deadline=deadline, notify=notify)
        for _ in stream:
            pass
        return stream.result

    def stream(
        self,
        job_id: str,
        *,
        deadline: float | None = None,
        notify: Notify | None = None,
        **part: Unpack[Part],
    ) -> SyncStream:
        """Returns the job's output, or a part of it, and its result: see `SyncStream` and `Part`.

        >>> with SyncClient.from_env() as client:
        ...     job = client.run("sh", "-c", "printf 12345; exit 3", limits=Limits(memory=64))
        ...     with client.stream(job.id, offset=2) as stream:
        ...         for chunk in stream:
        ...             print(chunk.offset, chunk.payload)
        ...     print(stream.result.exit_code, stream.truncated)
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
    ) -> SyncStream:
        """Returns the output that the API's own message asks for."""
        return SyncStream(self._connection, Reading(request, deadline=deadline, notify=notify))
