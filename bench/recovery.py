"""The time until the server answers, and a follower reads on, after a process was killed."""

import asyncio
import contextlib
import time
from collections.abc import Callable

import grpc
import psutil
from restarts import following, keeper, lasting_client, supervisor
from result import Result

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from live import Server
from live_client import client, credentials

ROUNDS = 10
KEEPER_JOBS = 100
BUSY_JOBS = 8
BUSY_CLIENTS = 4

_MIB = 2**20
_PAUSE_SECONDS = 0.005
_BETWEEN_SECONDS = 0.5
_COUNTER = ("sh", "-c", "while :; do echo line; sleep 0.005; done")
"""Prints more often than a restart can be measured."""


async def recovery(server: Server) -> Result:
    """Measure the time from the kill of an API process to the first response of GetJob."""
    async with client(server, "admin") as admin:
        job_id = (await admin.run("true"))[0].id
    found = [await _until_answered(server, server.api_processes()[0], job_id) for _ in range(ROUNDS)]
    return Result("API process killed, serving again", "-", found, "ms", 1_000, at_least=False)


async def supervisor_recovery(server: Server) -> list[Result]:
    """Measure the time from the kill of the supervisor to GetJob's first response, and to new output."""
    async with client(server, "admin") as admin:
        job_id = (await admin.create(*_COUNTER)).id
    answered, followed = [], []
    for _ in range(ROUNDS):
        await asyncio.sleep(_BETWEEN_SECONDS)
        answered.append(await _until_answered(server, supervisor(server), job_id))
    async with lasting_client(server) as admin:
        with following(admin, job_id) as follower:
            for _ in range(ROUNDS):
                await asyncio.sleep(_BETWEEN_SECONDS)
                calls, start = follower.calls, time.perf_counter()
                supervisor(server).kill()
                await _until(lambda calls=calls: follower.calls > calls)  # type: ignore[misc]
                await follower.grew()
                followed.append((time.perf_counter() - start) * 1000)
        await admin.stop(job_id, seconds=0)
    return [
        Result("supervisor killed, serving again", "-", answered, "ms", 1_000, at_least=False),
        Result("supervisor killed, a follower reads on", "-", followed, "ms", 1_000, at_least=False),
    ]


async def busy_recovery(server: Server) -> Result:
    """Measure the time from the kill of the supervisor to GetJob's first response under load."""
    async with client(server, "admin") as admin:
        job_ids = [(await admin.create(*_COUNTER)).id for _ in range(BUSY_JOBS)]
    answered = []
    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(_create_jobs(server)) for _ in range(BUSY_CLIENTS)]
        for _ in range(ROUNDS):
            await asyncio.sleep(_BETWEEN_SECONDS)
            answered.append(await _until_answered(server, supervisor(server), job_ids[0]))
        for each in clients:
            each.cancel()
    case = f"supervisor killed, {BUSY_JOBS} jobs print and {BUSY_CLIENTS} clients create, serving again"
    return Result(case, "-", answered, "ms", 1_000, at_least=False)


async def _create_jobs(server: Server) -> None:
    async with client(server, "admin") as admin:
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await admin.create("true")
            await asyncio.sleep(_PAUSE_SECONDS)


async def keeper_memory(server: Server, jobs: int) -> Result:
    """Measure the keeper while jobs run."""
    async with client(server, "admin") as admin:
        ids = [(await admin.create("sleep", "600")).id for _ in range(jobs)]
        used = keeper(server).memory_info().rss / _MIB
        await asyncio.gather(*(admin.stop(each, seconds=0) for each in ids))
    return Result(f"memory of the keeper, {jobs} jobs", "-", [used], "MiB", 12, at_least=False)


async def _until(check: Callable[[], bool]) -> None:
    while not check():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(_PAUSE_SECONDS)


async def _until_answered(server: Server, process: psutil.Process, job_id: str) -> float:
    """Kill a process and return the milliseconds until GetJob answers."""
    start = time.perf_counter()
    process.kill()
    process.wait()
    while not await _answers(server, job_id):  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(_PAUSE_SECONDS)
    return (time.perf_counter() - start) * 1000


async def _answers(server: Server, job_id: str) -> bool:
    """Call GetJob on a new connection, because a refused connection waits a second before it reconnects."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(
        server.address, credentials(server.certs, "admin"), options=options
    ) as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        try:
            await stub.GetJob(job_service_pb2.GetJobRequest(id=job_id), timeout=10)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
    return True
