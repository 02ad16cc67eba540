"""Check that jobs which are starting while the supervisor is killed run once or not at all."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from conftest import BIN
from restarts import LastingClient, kill_supervisor, lasting_client, reload

from jobworker.v1 import job_pb2
from live import SLOW, Server, seen_by_jobs

CLIENTS = 4 if SLOW else 8
RESTARTS = 3 if SLOW else 6
SEED = 14


@dataclass
class Creates:
    """The outcome of each CreateJob. A token is a command's only argument."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    """The job id of each token."""
    failed: set[str] = field(default_factory=set)
    """Tokens of calls that failed and were not repeated."""


@pytest.fixture
def directory() -> Iterator[Path]:
    with seen_by_jobs() as path:
        yield path


@pytest.fixture
def writable_server(certs: Path, tmp_path: Path, directory: Path) -> Iterator[Server]:
    """A server whose jobs may write to a directory."""
    env = {"JOBWORKERD_ISOLATION_WRITABLE_PATHS": str(directory)}
    with Server.started(BIN, certs, tmp_path / "state", **env) as started:
        yield started


async def test_no_acknowledged_job_is_lost_and_no_command_runs_twice(
    writable_server: Server, directory: Path
) -> None:
    ran = directory / "ran"
    ran.touch()
    ran.chmod(0o666)
    creates, done, chance = Creates(), asyncio.Event(), random.Random(SEED)
    async with lasting_client(writable_server) as admin:
        clients = [
            asyncio.create_task(_create(admin, creates, number, done, ran)) for number in range(CLIENTS)
        ]
        for number in range(RESTARTS):
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            await (reload if number % 3 == 2 else kill_supervisor)(writable_server)
            before = len(creates.acknowledged)
            async with asyncio.timeout(60):
                while len(creates.acknowledged) == before:
                    await asyncio.sleep(0.01)
        done.set()
        await asyncio.gather(*clients)
        jobs = await asyncio.gather(*(admin.ended(job.id) for job in await admin.list()))
    _check(creates, jobs, Counter(ran.read_text().split()))
    assert writable_server.job_cgroups() == []


async def _create(
    admin: LastingClient, creates: Creates, client: int, done: asyncio.Event, ran: Path
) -> None:
    """Create jobs until `done` is set. Every other client repeats calls that failed."""
    for number in range(100_000):
        if done.is_set():
            return
        token = f"{client}-{number}"
        fields = {"request_id": token} if client % 2 else {}
        try:
            job = await admin.create(
                "sh", "-c", 'echo "$1" >>"$0"', str(ran), token, labels={"token": token}, **fields
            )
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017
            creates.failed.add(token)
            await admin.list(id_prefix="0" * 36)
        else:
            creates.acknowledged[token] = job.id


def _check(creates: Creates, jobs: list[job_pb2.Job], runs: Counter[str]) -> None:
    assert creates.acknowledged
    recorded = Counter(job.labels["token"] for job in jobs)
    assert max(recorded.values()) == 1
    assert max(runs.values()) == 1, "no command ran twice"
    assert set(recorded) <= set(creates.acknowledged) | creates.failed
    assert {token: job.id for job in jobs if (token := job.labels["token"]) in creates.acknowledged} == (
        creates.acknowledged
    )
    for job in jobs:
        assert (job.status, job.exit_code) == (job_pb2.JOB_STATUS_COMPLETED, 0), job
    assert set(runs) == set(recorded), "a command runs if and only if it has a record"
