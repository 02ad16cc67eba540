"""Measures how soon watchers see a change, and what many of them cost."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import grpc
import psutil
from result import Result

from jobworker.v1 import job_watch_pb2
from live import Server
from live_client import Client, client, credentials

CHANGES = 200
ROUNDS_OF_MANY = 10
WATCHERS = 1_000
CONNECTIONS = 4

Call = grpc.aio.UnaryStreamCall[job_watch_pb2.WatchJobsRequest, job_watch_pb2.WatchJobsResponse]


async def watching(server: Server) -> list[Result]:
    """Measure one watcher and a thousand."""
    async with client(server, "admin") as admin:
        job = await admin.create("sleep", "1000")
        delays = await _delays(admin, job.id)
        (api,) = server.api_processes()
        before = api.memory_info().rss
        async with _watchers(server, WATCHERS) as calls:
            each = (api.memory_info().rss - before) / WATCHERS / 1024
            lasts, busy = await _changes_for_many(admin, api, job.id, calls)
        await admin.stop(job.id, seconds=0)
    return [
        Result("change seen by a watcher", "the start of UpdateJob", delays, "ms", 3.0, at_least=False),
        Result(f"change seen by the last of {WATCHERS:,} watchers", "the same", lasts, "ms", None),
        Result(f"CPU time per change and watcher, {WATCHERS:,} watchers", "-", busy, "us", None),
        Result(f"memory per watcher, {WATCHERS:,} watchers", "-", [each], "KiB", None),
    ]


async def _delays(admin: Client, job_id: str) -> list[float]:
    """Return the milliseconds from each call of UpdateJob until a watcher has the change."""
    call = admin.stub.WatchJobs(job_watch_pb2.WatchJobsRequest(ids=[job_id]))
    await _synced(call)
    delays = []
    for number in range(CHANGES):
        begin = time.perf_counter()
        update = asyncio.ensure_future(admin.update(job_id, max_cpu=100 + number % 2))
        await call.read()
        delays.append((time.perf_counter() - begin) * 1e3)
        await update
        await asyncio.sleep(0.005)
    call.cancel()
    return delays


async def _changes_for_many(
    admin: Client, api: psutil.Process, job_id: str, calls: list[Call]
) -> tuple[list[float], list[float]]:
    """Return the milliseconds until all watchers have each change, and the CPU time in us per watcher."""
    lasts, busy = [], []
    for number in range(ROUNDS_OF_MANY):
        cpu, begin = _cpu_seconds(api), time.perf_counter()
        await admin.update(job_id, max_cpu=50 + number)
        await asyncio.gather(*(call.read() for call in calls))
        lasts.append((time.perf_counter() - begin) * 1e3)
        busy.append((_cpu_seconds(api) - cpu) / len(calls) * 1e6)
        await asyncio.sleep(0.5)
    return lasts, busy


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextlib.asynccontextmanager
async def _watchers(server: Server, count: int) -> AsyncIterator[list[Call]]:
    """Open watches of all jobs, over a few connections."""
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(CONNECTIONS):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = grpc.aio.secure_channel(server.address, credentials(server.certs, "viewer"), options)
            clients.append(Client(await stack.enter_async_context(channel)))
        calls = [
            clients[number % CONNECTIONS].stub.WatchJobs(job_watch_pb2.WatchJobsRequest(max_final_jobs=0))
            for number in range(count)
        ]
        await asyncio.gather(*map(_synced, calls))
        yield calls
        for call in calls:
            call.cancel()


async def _synced(call: Call) -> None:
    """Read up to the first bookmark."""
    while True:
        message = await call.read()
        assert isinstance(message, job_watch_pb2.WatchJobsResponse)
        if message.HasField("bookmark"):
            return
