"""Kills, reloads and restarts the parts of a live server, and calls it through that."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import grpc
import psutil

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server, arguments, eventually
from live_client import Client, credentials

T = TypeVar("T")
Restart = Callable[[Server], Awaitable[None]]

_BACK_WITHIN_SECONDS = 60
_PAUSE_SECONDS = 0.02
_RECONNECT = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
]
"""Without these a channel waits a second or more before it connects again."""


def keeper(server: Server) -> psutil.Process:
    """Return the main process."""
    assert server.process
    return psutil.Process(server.process.pid)


def supervisor(server: Server) -> psutil.Process:
    """Return the supervisor: the older one while a reload prepares another.

    Raises:
        ProcessLookupError: no supervisor runs.
    """
    return _oldest(server, "jobworkerd.supervisor")


def api_process(server: Server) -> psutil.Process:
    """Return an API process.

    Raises:
        ProcessLookupError: no API process runs.
    """
    return _oldest(server, "jobworkerd.api")


def fork_server(server: Server) -> psutil.Process:
    """Return the fork server, which is older than the spare processes that it forked.

    Raises:
        ProcessLookupError: no fork server runs.
    """
    return _oldest(server, "jobworkerd.spawn.fork_server")


def _oldest(server: Server, module: str) -> psutil.Process:
    found = []
    for each in (keeper(server), *server.descendants()):
        with contextlib.suppress(psutil.NoSuchProcess):
            if module in arguments(each):
                found.append((each.create_time(), each.pid, each))
    if not found:
        raise ProcessLookupError(f"no process runs {module}")
    return min(found)[-1]


def _supervisor_is_another_than(server: Server, old: psutil.Process) -> bool:
    try:
        return supervisor(server) != old
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


class LastingClient(Client):
    """A client that repeats calls until the server is back."""

    async def get(self, job_id: str) -> job_pb2.Job:
        """Return a job as soon as the server answers."""
        return await persist(lambda: super(LastingClient, self).get(job_id))

    async def create(self, *argv: str, **fields: Any) -> job_pb2.Job:
        """Create a job; repeat the call only if it has a request id."""
        if "request_id" not in fields:
            return await super().create(*argv, **fields)
        return await persist(lambda: super(LastingClient, self).create(*argv, **fields))

    async def update(self, job_id: str, **limits: Any) -> job_pb2.Job:
        """Change limits as soon as the server answers."""
        return await persist(lambda: super(LastingClient, self).update(job_id, **limits))

    async def ended(self, job_id: str) -> job_pb2.Job:
        """Wait until a job is final."""
        return await persist(lambda: super(LastingClient, self).ended(job_id))

    async def stream(self, job_id: str, **fields: Any) -> Any:
        """Read a job's log to its end, from the start again if the server was away."""
        return await persist(lambda: super(LastingClient, self).stream(job_id, **fields))

    async def list(self, **fields: Any) -> list[job_pb2.Job]:
        """Return all jobs that match, newest first."""
        found: list[job_pb2.Job] = []
        request = job_service_pb2.ListJobsRequest(page_size=1000, **fields)
        while True:
            page = await persist(lambda: self.stub.ListJobs(request, timeout=30))
            found += page.jobs
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


@contextlib.asynccontextmanager
async def lasting_client(server: Server, role: str = "admin") -> AsyncIterator[LastingClient]:
    """Connect with the certificate of a role; the channel reconnects quickly."""
    async with grpc.aio.secure_channel(
        server.address, credentials(server.certs, role), options=_RECONNECT
    ) as channel:
        connected = LastingClient(channel)
        # A first attempt to connect can fail on a slow host, and not all calls are repeated.
        await connected.list(id_prefix="0" * 36)
        yield connected


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call while the server is unavailable."""
    async with asyncio.timeout(_BACK_WITHIN_SECONDS):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)


async def kill_supervisor(server: Server) -> None:
    """Kill the supervisor and wait until another runs."""
    old = supervisor(server)
    old.kill()
    await eventually(lambda: _supervisor_is_another_than(server, old))


async def reload(server: Server) -> None:
    """Reload the server as systemd does, and wait until a new supervisor has replaced the old one."""
    old = supervisor(server)
    keeper(server).send_signal(signal.SIGHUP)
    await eventually(lambda: _supervisor_is_another_than(server, old), seconds=_BACK_WITHIN_SECONDS)


@contextlib.contextmanager
def without_supervisor(server: Server) -> Iterator[None]:
    """Kill the supervisor, and let the keeper start another only at the end of the context."""
    main, old = keeper(server), supervisor(server)
    main.suspend()
    try:
        old.kill()
        yield
    finally:
        main.resume()


def crash(server: Server, *parts: psutil.Process) -> None:
    """Kill processes at once, and wait for the end of the main process, which is the first of `parts`."""
    assert server.process
    for each in parts:
        each.suspend()  # so that none sees another's end
    # The main process last: its end lets a stopped supervisor continue (SIGCONT to orphaned process groups).
    for each in reversed(parts):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    server.process.wait()


class Follower:
    """Follows a job through each interruption; a later call resumes at the next offset."""

    def __init__(self, client: Client, job_id: str) -> None:
        """Start to follow the job."""
        self.output = bytearray()
        self.by_source: dict[int, bytearray] = {}
        self.result: job_pb2.Job | None = None
        self.calls = 0
        self._client = client
        self._job_id = job_id
        self._offset = 0
        self._task = asyncio.create_task(self._follow())

    def close(self) -> None:
        """Stop following the job."""
        self._task.cancel()

    async def ended(self) -> job_pb2.Job:
        """Return the job when all its output has been read."""
        await self._task
        assert self.result
        return self.result

    async def grew(self, seconds: float = 60) -> None:
        """Wait for output that is newer than this call."""
        size = len(self.output)
        await eventually(lambda: len(self.output) > size or self._task.done(), seconds)
        if self._task.done():
            await self._task  # raises what ended it
        assert len(self.output) > size, "the follower has ended"

    async def _follow(self) -> None:
        while self.result is None:
            try:
                await self._read()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read(self) -> None:
        self.calls += 1
        request = job_service_pb2.GetJobsStreamRequest(id=self._job_id, offset=self._offset)
        async for message in self._client.stub.GetJobsStream(request):
            assert message.offset == self._offset, "no gap and no repetition"
            assert not message.HasField("truncated"), message.truncated
            self._offset = message.next_offset
            self.output += message.payload
            self.by_source.setdefault(message.source, bytearray()).extend(message.payload)
            if message.HasField("result"):
                self.result = message.result


@contextlib.contextmanager
def following(client: Client, job_id: str) -> Iterator[Follower]:
    """Follow a job until the end of the context."""
    follower = Follower(client, job_id)
    try:
        yield follower
    finally:
        follower.close()
