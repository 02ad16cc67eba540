"""`make soak`: start and stop 200 jobs at random for two minutes and check that nothing leaks.

The test counts processes, cgroups, descriptors and files before and after. The UIDs in use never exceed
the number of jobs that may run at once.
"""

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf import duration_pb2

from jobworker.v1 import job_pb2, job_service_pb2
from live import IDLE_PROCESSES, Server, eventually, make_certificates, pids_with
from live_client import Client, client

BIN = Path(sys.executable).parent
AT_ONCE = 200
SECONDS = 120
KEPT = 50
USERS = range(1_700_000_000, 1_700_000_500)
"""Other servers on this host use the default range."""

SETTINGS = {
    "JOBWORKERD_RETENTION_MAX_JOBS": str(KEPT),
    "JOBWORKERD_ISOLATION_FIRST_UID": str(USERS.start),
    "JOBWORKERD_ISOLATION_UID_COUNT": str(len(USERS)),
}

SHORT = duration_pb2.Duration(nanos=300_000_000)
FINAL = {job_pb2.JOB_STATUS_COMPLETED, job_pb2.JOB_STATUS_FAILED, job_pb2.JOB_STATUS_STOPPED}

MARK = str(100_000_000 + uuid.uuid4().int % 100_000_000)
"""Duration of each sleep, which also identifies the processes."""

SCRIPTS = [
    "exit 0",
    "exit 7",
    "kill -SEGV $$",
    f"exec sleep {MARK}",
    f"trap '' TERM; while :; do sleep {MARK}; done",
    f"trap 'exit 9' TERM; sleep {MARK} & wait",
    f"setsid sleep {MARK} & exit 3",
    f"sleep {MARK} & exec >&- 2>&-; wait",
    f"kill -STOP $$; sleep {MARK}",
    "head -c 300000 /dev/zero; exit 1",
    "while :; do echo line; sleep 0.05; done",
]


@dataclass(frozen=True)
class Held:
    """Resources that the server holds, apart from the records that it keeps."""

    processes: int
    descriptors: tuple[int, ...]
    cgroups: int

    @classmethod
    def by(cls, server: Server) -> "Held":
        """Count the resources, zombies included."""
        assert server.process
        watched = [psutil.Process(server.process.pid), server.supervisor, *server.api_processes()]
        descriptors = tuple(process.num_fds() for process in watched)
        return cls(len(server.descendants()), descriptors, len(server.job_cgroups()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    certs = make_certificates(BIN, tmp_path_factory.mktemp("certs"))
    with Server.started(BIN, certs, tmp_path_factory.mktemp("state"), **SETTINGS) as started:
        yield started


async def churn(admin: Client, until: float) -> int:
    """Start jobs one after the other, stop most of them, and return their number."""
    count = 0
    while time.monotonic() < until:
        try:
            await one_job(admin)
        except grpc.aio.AioRpcError as error:
            # The record was removed meanwhile: the server keeps few.
            assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017 - any other is a failure
        count += 1
    return count


async def one_job(admin: Client) -> None:
    """Start a job and, unless it is meant to exit by itself, stop it after a while."""
    timeout = SHORT if random.random() < 0.1 else None
    job = await admin.create("sh", "-c", random.choice(SCRIPTS), timeout=timeout, stop_grace_period=SHORT)
    follower = asyncio.create_task(admin.stream(job.id)) if random.random() < 0.3 else None
    await asyncio.sleep(random.expovariate(4))
    request = job_service_pb2.StopJobRequest(id=job.id)
    if random.random() < 0.3:
        request.grace_period.FromSeconds(0)
    try:
        stopped = (await admin.stub.StopJob(request, timeout=60)).job
        assert stopped.status in FINAL
    finally:
        if follower:
            await asyncio.gather(follower, return_exceptions=True)
    if follower and not follower.exception():
        assert follower.result().result == stopped


async def a_command_that_is_none(admin: Client, until: float) -> int:
    """Start jobs that fail to exec, and return their number."""
    count = 0
    while time.monotonic() < until:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await admin.create("/no/such/command")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await asyncio.sleep(random.expovariate(4))
        count += 1
    return count


async def test_churn_of_two_hundred_jobs_leaks_nothing(server: Server) -> None:
    async with client(server, "admin") as admin:
        # Fill the records to their bound, so that both counts include the same number.
        for _ in range(KEPT):
            await admin.run("true")
        await eventually(lambda: len(server.descendants()) == IDLE_PROCESSES and not server.job_cgroups())
        before = Held.by(server)
        until = time.monotonic() + SECONDS
        counts = await asyncio.gather(
            *(churn(admin, until) for _ in range(AT_ONCE)), a_command_that_is_none(admin, until)
        )
        assert all(counts)
        print(f"{sum(counts)} jobs")
        await eventually(lambda: Held.by(server) == before)
        assert pids_with(MARK) == []
        assert sum(counts) > len(USERS)
        assert not [each for each in psutil.process_iter(["uids"]) if each.info["uids"].real in USERS]
        listed = await admin.stub.ListJobs(job_service_pb2.ListJobsRequest(page_size=1_000))
    kept = {job.id for job in listed.jobs}
    assert len(kept) == KEPT
    assert server.state
    await eventually(lambda: directories(server) == kept)


def directories(server: Server) -> set[str]:
    """Return the job directories; `next` is the log prepared ahead."""
    assert server.state
    return {entry.name for entry in (server.state / "state" / "jobs").iterdir()} - {"next"}
