"""`make soak`: 200 watchers while 50 jobs per second come and go.

Each watcher ends in the picture of ListJobs and has seen the final status of each job. Memory does not grow.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server, make_certificates
from live_client import Client, client
from watcher import FINAL, Watcher, watching

BIN = Path(sys.executable).parent
WATCHERS = 200
JOBS_PER_SECOND = 50
WARM_UP_SECONDS, SECONDS = 30, 60
KEPT = 200
SETTLE_SECONDS = 120
GROWTH_MIB = 16.0
"""Allowed growth of both processes after the warm-up. Their change logs can still fill up to their bounds."""

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    certs = make_certificates(BIN, tmp_path_factory.mktemp("certs"))
    keep = {"JOBWORKERD_RETENTION_MAX_JOBS": str(KEPT)}
    with Server.started(BIN, certs, tmp_path_factory.mktemp("state"), **keep) as started:
        yield started


class Count:
    """A watcher that counts the final statuses it has seen."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.final: set[str] = set()
        self.resets = 0

    async def follow(self) -> None:
        while True:
            message = await self.watcher.next(seconds=None)
            self.watcher.messages.clear()
            self.resets += message.HasField("reset")
            if message.changed.job.status in FINAL:
                self.final.add(message.changed.job.id)


async def run_jobs(admin: Client, seconds: float) -> set[str]:
    """Start jobs at a steady rate, and return their ids when all have ended."""
    ids: set[str] = set()

    async def run_one() -> None:
        job = await admin.create("true")
        ids.add(job.id)

    end = time.monotonic() + seconds
    async with asyncio.TaskGroup() as running:
        while time.monotonic() < end:
            running.create_task(run_one())
            await asyncio.sleep(1 / JOBS_PER_SECOND)
    return ids


def memory(server: Server) -> float:
    """Return the memory of the supervisor and the API process in MiB."""
    processes = [server.supervisor, *server.api_processes()]
    return sum(each.memory_info().rss for each in processes) / MIB


async def listed(admin: Client) -> dict[str, job_pb2.JobStatus.ValueType]:
    page = await admin.stub.ListJobs(job_service_pb2.ListJobsRequest(page_size=1_000))
    return {job.id: job.status for job in page.jobs}


async def test_watchers_end_in_the_picture_of_list_jobs(server: Server) -> None:
    async with (
        client(server, "admin") as admin,
        client(server, "viewer") as viewer,
        AsyncExitStack() as stack,
    ):
        counts = [Count(await stack.enter_async_context(watching(viewer))) for _ in range(WATCHERS)]
        following = [asyncio.create_task(each.follow()) for each in counts]
        ids = await run_jobs(admin, WARM_UP_SECONDS)
        before = memory(server)
        ids |= await run_jobs(admin, SECONDS)
        growth = memory(server) - before
        last, _ = await admin.run("true")
        async with asyncio.timeout(SETTLE_SECONDS):
            while any(last.id not in each.final for each in counts) or len(await listed(admin)) > KEPT:
                await asyncio.sleep(0.5)
        await asyncio.sleep(5)
        expected = await listed(admin)
        for task in following:
            task.cancel()
        await asyncio.wait(following)
    for each in counts:
        assert {job.id: job.status for job in each.watcher.jobs.values()} == expected
        assert each.resets or ids <= each.final
    print(f"{len(ids)} jobs, {sum(each.resets for each in counts)} resets, {growth:.1f} MiB")
    assert growth < GROWTH_MIB
