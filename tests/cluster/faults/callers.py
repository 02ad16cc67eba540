"""Calls to the gateways of a cluster: each goes to another gateway, and is repeated until one answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import TypeVar

import grpc

from jobworker.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from live import Server
from live_client import credentials
from tests.cluster.faults.ledger import Entry, Ledger

T = TypeVar("T")
Stub = job_service_pb2_grpc.JobServiceStub

ANSWER_SECONDS = 120.0
"""A gateway must answer again within this time after any fault."""

_CALL_SECONDS = 20.0
_PAUSE_SECONDS = 0.2
_REPEATED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
]


@asynccontextmanager
async def connected(servers: Sequence[Server]) -> AsyncIterator[list[Stub]]:
    """Connect to servers as an admin."""
    async with AsyncExitStack() as stack:
        stubs: list[Stub] = []
        for server in servers:
            channel = grpc.aio.secure_channel(server.address, credentials(server.certs, "admin"), _OPTIONS)
            await stack.enter_async_context(channel)
            stubs.append(job_service_pb2_grpc.JobServiceStub(channel))
        yield stubs


class Callers:
    """Clients of all gateways."""

    def __init__(self, gateways: Sequence[Stub], ledger: Ledger) -> None:
        self._gateways = gateways
        self._ledger = ledger
        self._rng = random.Random(f"{ledger.seed}/callers")

    @property
    def gateways(self) -> int:
        """The number of gateways."""
        return len(self._gateways)

    async def create(self, entry: Entry, request: job_service_pb2.CreateJobRequest) -> None:
        """Create a job; repeat the call with the same request id until a gateway accepts it."""
        response = await self._persist(lambda stub: stub.CreateJob(request, timeout=_CALL_SECONDS), entry)
        self._ledger.accept(entry, response.job)

    async def get(self, entry: Entry) -> None:
        """Read a record once at one gateway. It can be unavailable, but it must not say NOT_FOUND."""
        await self._get(self._rng.randrange(len(self._gateways)), entry)

    async def wait(self, entry: Entry) -> None:
        """Wait until a job is final."""
        request = job_service_pb2.WaitJobRequest(id=entry.job_id)
        request.timeout.FromSeconds(10)
        while entry.final is None:
            since = monotonic()
            response = await self._persist(lambda stub: stub.WaitJob(request, timeout=_CALL_SECONDS), entry)
            self._ledger.observe(response.job, since)

    async def stop(self, entry: Entry) -> None:
        """Stop a job."""
        request, since = job_service_pb2.StopJobRequest(id=entry.job_id), monotonic()
        response = await self._persist(lambda stub: stub.StopJob(request, timeout=_CALL_SECONDS), entry)
        self._ledger.stopped(response.job, since)

    async def follow(self, entry: Entry) -> None:
        """Read the output of a job to its end; resume at another gateway when a stream breaks."""
        entry.streamed = bytearray()
        end = monotonic() + ANSWER_SECONDS
        while True:
            try:
                await self._follow_some(entry, entry.streamed)
            except grpc.aio.AioRpcError as error:
                size = len(entry.streamed)
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    self._ledger.not_found(entry, "GetJobsStream")
                    return
                if error.code() not in _REPEATED:
                    self._ledger.violation("unexpected error", entry, f"{error.code()} {error.details()}")
                    return
                self._ledger.counts["resumed streams"] += 1
                if size:
                    self._ledger.counts["streams resumed in their middle"] += 1
                if monotonic() > end and entry.final:
                    self._ledger.violation("no stream of a final job", entry, error.details())
                    return
            else:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def list_all(self, number: int) -> dict[str, job_pb2.Job]:
        """Return all jobs as one gateway lists them."""
        found: dict[str, job_pb2.Job] = {}
        request = job_service_pb2.ListJobsRequest(page_size=200)
        while True:
            page = await self._gateways[number].ListJobs(request, timeout=60)
            for job in page.jobs:
                if job.id in found:
                    self._ledger.violation("a job is listed twice", None, job.id)
                found[job.id] = job
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def check_list(self, number: int) -> bool:
        """Check that a gateway lists the jobs that it must know; False if it is unavailable."""
        since = monotonic()
        try:
            listed = await self.list_all(number)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _REPEATED:
                self._ledger.violation(
                    "unexpected error", None, f"ListJobs: {error.code()} {error.details()}"
                )
            self._ledger.counts["lists without an answer"] += 1
            return False
        self._ledger.compare_list(number, since, listed)
        return True

    async def check_running(self, number: int) -> None:
        """Check that a gateway lists no job as running whose end a client has seen before."""
        since = monotonic()
        request = job_service_pb2.ListJobsRequest(page_size=1000, statuses=[job_pb2.JOB_STATUS_RUNNING])
        try:
            page = await self._gateways[number].ListJobs(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError:
            return  # `check_list` looks at the errors
        for job in page.jobs:
            if job.id in self._ledger.jobs:
                self._ledger.observe(job, since)

    async def _follow_some(self, entry: Entry, received: bytearray) -> None:
        number, since = self._rng.randrange(len(self._gateways)), monotonic()
        request = job_service_pb2.GetJobsStreamRequest(id=entry.job_id, offset=len(received))
        self._ledger.counts["streams"] += 1
        async for message in self._gateways[number].GetJobsStream(request):
            begin = len(received)
            received += message.payload
            if (message.offset, message.next_offset) != (begin, len(received)):
                self._ledger.violation("a gap in a stream", entry, f"at {begin}: {message}"[:300])
            self._ledger.shown(entry, number)
            if message.HasField("result"):
                self._ledger.observe(message.result, since)
                return
        self._ledger.violation("a stream has ended without a result", entry)

    async def _get(self, number: int, entry: Entry) -> None:
        since, where = monotonic(), f"GetJob at gateway {number}"
        try:
            request = job_service_pb2.GetJobRequest(id=entry.job_id)
            response = await self._gateways[number].GetJob(request, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                self._ledger.not_found(entry, where)
            elif error.code() not in _REPEATED:
                self._ledger.violation(
                    "unexpected error", entry, f"{where}: {error.code()} {error.details()}"
                )
            self._ledger.counts["reads without an answer"] += 1
        else:
            self._ledger.counts["reads"] += 1
            self._ledger.shown(entry, number)
            self._ledger.observe(response.job, since)

    async def _persist(self, call: Callable[[Stub], Awaitable[T]], entry: Entry) -> T:
        """Repeat a call about a job at any gateway until one answers."""
        end = monotonic() + ANSWER_SECONDS
        while True:
            number = self._rng.randrange(len(self._gateways))
            try:
                answer = await call(self._gateways[number])
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    self._ledger.not_found(entry, error.details() or "")
                if error.code() not in _REPEATED or monotonic() > end:
                    raise
                self._ledger.counts["repeated calls"] += 1
            else:
                self._ledger.shown(entry, number)
                return answer
            await asyncio.sleep(_PAUSE_SECONDS)
