"""The calls of the client for asyncio that have one response."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from types import TracebackType
from typing import Self, Unpack

from jobworker.v1 import cluster_service_pb2, job_pb2, job_service_pb2, login_service_pb2
from jobworker_client import requests
from jobworker_client.aio.connection import Connection
from jobworker_client.base import DEADLINE, BaseClient
from jobworker_client.config import ClientConfig
from jobworker_client.errors import JobNotFound, JobWorkerError
from jobworker_client.events import EventHandler
from jobworker_client.job_wait import JobWait
from jobworker_client.options import JobFilter, JobOptions, LimitChanges, Seconds
from jobworker_client.paging import PAGE_SIZE, JobPager

__all__ = ["JobCalls"]


class JobCalls(BaseClient):
    """The connection of a client, and its calls that have one response."""

    def __init__(self, config: ClientConfig, *, deadline: float = DEADLINE) -> None:
        """Read the PEM files; the first call connects.

        Raises:
            InvalidCertificateFile: a PEM file cannot be read or used; the message names it.
            InvalidAddress: `config.server` is not an address.
            RuntimeError: there is no running event loop.
        """
        super().__init__(config, deadline=deadline)
        self._connection = Connection(config, self._retry_policy)
        self._stub = self._connection.stub

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection and cancel open calls."""
        await self._connection.close()

    async def create(
        self, command: str, *args: str, deadline: float | None = None, **options: Unpack[JobOptions]
    ) -> job_pb2.Job:
        """Start a job and return it while it runs; `JobOptions` describes the options.

        With `queue_timeout` the job is returned while it waits, if the server has no room for it.

        `command` is a path, or a name that the server looks up in the PATH of the job.

        Raises:
            InvalidRequest: the server refused a value.
            CommandNotStarted: the command cannot be executed.
            LimitUnavailable: the server cannot enforce a limit, and the limits policy is strict.
            TooManyJobs: the server has no room for the job and `queue_timeout` is not set, or its queue is
                full.
            HostExhausted: the host has no resources left for the job.
            RequestIdReused: the request id was already used with a different request.

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
        """Start a job from a generated request; an empty `request_id` is replaced by a new UUID."""
        retryable = requests.with_request_id(request)
        return (await self._connection.call(self._stub.CreateJob, retryable, self._or_default(deadline))).job

    async def run(
        self, command: str, *args: str, deadline: float | None = None, **options: Unpack[JobOptions]
    ) -> job_pb2.Job:
        """Start a job, wait for its end and return it; `stream` returns the output.

        `deadline` bounds the wait in seconds. The job keeps running if the deadline passes or the wait is
        interrupted. To bound the job itself, set `timeout`, or use `create`, `wait` and `stop`.
        """
        job = await self.create(command, *args, **options)
        return await self.wait(job.id, deadline=deadline)

    async def get(self, job_id: str, *, deadline: float | None = None) -> job_pb2.Job:
        """Return the current state of a job.

        Raises:
            JobNotFound: no job has this id.

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
        return (await self._connection.call(self._stub.GetJob, request, self._or_default(deadline))).job

    async def list(
        self,
        *,
        limit: int | None = None,
        page_size: int = PAGE_SIZE,
        deadline: float | None = None,
        **job_filter: Unpack[JobFilter],
    ) -> AsyncIterator[job_pb2.Job]:
        """Yield the jobs that match the filter, newest first, at most `limit`.

        Each page is one call of at most `page_size` jobs (1 to 1,000). `deadline` bounds each of them.

        >>> async def main() -> None:
        ...     async with Client.from_env() as client:
        ...         made = [await client.run("true", labels={"kind": "shown"}) for _ in range(3)]
        ...         found = [job.id async for job in client.list(labels={"kind": "shown"}, limit=3)]
        ...         print(found == [job.id for job in reversed(made)])
        >>> asyncio.run(main())
        True
        """
        pager = JobPager(requests.list_request(**job_filter), limit=limit, page_size=page_size)
        while (request := pager.next_request()) is not None:
            for job in pager.accept(
                await self._connection.call(self._stub.ListJobs, request, self._or_default(deadline))
            ):
                yield job

    async def stop(
        self, job_id: str, *, grace_period: Seconds | None = None, deadline: float | None = None
    ) -> job_pb2.Job:
        """Stop a job, wait for its end and return it. A job that has already ended does not change.

        The server sends the job's stop signal, and SIGKILL after `grace_period` (default: that of the job).
        There is no default deadline. If `deadline` passes, the server continues to stop the job.

        Raises:
            JobNotFound: no job has this id.
            DeadlineExceeded: the job did not end within `deadline` seconds.
        """
        request = requests.stop_request(job_id, grace_period)
        return (await self._connection.call(self._stub.StopJob, request, deadline)).job

    async def delete(self, job_id: str, *, deadline: float | None = None) -> None:
        """Delete a job that has ended: its record and its output.

        Raises:
            JobNotFound: no job has this id.
            JobNotFinal: the job has not ended; `stop` it first.
        """
        request = job_service_pb2.DeleteJobRequest(id=job_id)
        try:
            await self._connection.call(self._stub.DeleteJob, request, self._or_default(deadline))
        except JobNotFound as error:
            # An earlier attempt deleted the job, but its response was lost.
            if not error.retries:
                raise

    async def update(
        self, job_id: str, *, deadline: float | None = None, **changes: Unpack[LimitChanges]
    ) -> job_pb2.Job:
        """Change limits of a running job and return it with the limits that the kernel applies.

        Raises:
            InvalidRequest: the server refused a value.
            JobNotFound: no job has this id.
            JobNotRunning: the job has ended or has not started yet.
            LimitUnavailable: the server cannot enforce a limit, and the limits policy of the job is strict.
        """
        return await self.update_from(requests.update_request(job_id, **changes), deadline=deadline)

    async def update_from(
        self, request: job_service_pb2.UpdateJobRequest, *, deadline: float | None = None
    ) -> job_pb2.Job:
        """Change limits with a generated request."""
        return (await self._connection.call(self._stub.UpdateJob, request, self._or_default(deadline))).job

    async def wait(
        self, job_id: str, *, deadline: float | None = None, on_event: EventHandler | None = None
    ) -> job_pb2.Job:
        """Wait for the end of a job and return it, over any number of reconnects.

        There is no default deadline. `on_event` is called with each `Reconnecting`. The job keeps running if
        the wait fails.

        Raises:
            JobNotFound: no job has this id.
            DeadlineExceeded: the job did not end within `deadline` seconds.
        """
        wait = JobWait(job_id, monotonic(), deadline=deadline, on_event=on_event, policy=self._retry_policy)
        while wait.job is None:
            request, timeout = wait.next_request(monotonic())
            try:
                wait.receive(await self._connection.call_once(self._stub.WaitJob, request, timeout))
            except JobWorkerError as error:
                await asyncio.sleep(wait.next_delay(error, monotonic()))
        return wait.job

    async def list_nodes(
        self, *, page_size: int = PAGE_SIZE, deadline: float | None = None
    ) -> AsyncIterator[cluster_service_pb2.Node]:
        """Yield the nodes of the cluster, by name. Only a gateway has nodes.

        Each page is one call of at most `page_size` nodes (1 to 500). `deadline` bounds each of them.

        A single host raises a `JobWorkerError` with the code `UNIMPLEMENTED`.
        """
        request = cluster_service_pb2.ListNodesRequest(page_size=page_size)
        while True:
            page = await self._connection.call(
                self._connection.cluster_stub.ListNodes, request, self._or_default(deadline)
            )
            for node in page.nodes:
                yield node
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def create_login(self, *, deadline: float | None = None) -> login_service_pb2.CreateLoginResponse:
        """Create a one-time token with which a delegate, such as a shared dashboard, acts for this client.

        The token is a secret. It is valid for a minute.

        >>> async def main() -> None:
        ...     async with Client.from_env() as client:
        ...         login = await client.create_login()
        ...         print(len(login.token))
        >>> asyncio.run(main())
        43
        """
        request = login_service_pb2.CreateLoginRequest()
        return await self._connection.call(
            self._connection.login_stub.CreateLogin, request, self._or_default(deadline)
        )
