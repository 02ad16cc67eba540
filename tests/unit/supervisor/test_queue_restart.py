"""Queued jobs and restarts of the server."""

import asyncio
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.config import CapacityConfig
from jobworkerd.errors import RequestIdReused
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import JobStatus, TerminationReason
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.records.sealing import Sealer
from jobworkerd.records.state_key import KEY_FILE
from tests.unit.supervisor.job_table import (
    CONFIG,
    ONE_JOB,
    create,
    occupy,
    running_table,
    status_of,
    stop,
    until,
)


async def test_queued_jobs_survive_a_restart(tmp_path: Path) -> None:
    async with running_table(tmp_path, ONE_JOB) as server:
        first = await occupy(server)
        repeatable: dict[str, object] = {"request_id": "r", "env": {"A": "b"}}
        specs: list[dict[str, object]] = [{}, {"priority": 9}, repeatable]
        jobs = [await create(server, "true", **spec) for spec in specs]
    async with running_table(tmp_path, ONE_JOB) as server:
        assert server.jobs.get(first.id).status is JobStatus.STOPPED
        repeated = await create(server, "true", **repeatable)
        assert repeated.id == jobs[2].id
        with pytest.raises(RequestIdReused):
            await create(server, "false", **repeatable)
        ended = [await server.ended(job.id) for job in jobs]
        assert sorted(ended, key=lambda job: job.start_time_ns or 0) == [ended[1], ended[0], ended[2]]
        assert len(server.jobs.list(ListJobs(page_size=9)).jobs) == 4


async def test_the_timeout_counts_while_the_server_does_not_run(tmp_path: Path) -> None:
    async with running_table(tmp_path, ONE_JOB) as server:
        await occupy(server)
        job = await create(server, "true", queue_timeout=0.2)
    await asyncio.sleep(0.25)
    async with running_table(tmp_path, ONE_JOB) as server:
        final = await server.ended(job.id)
        assert final.termination
        assert final.termination.reason is TerminationReason.QUEUE_TIMED_OUT


async def test_a_clock_that_was_set_back_does_not_prolong_the_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_table(tmp_path, replace(ONE_JOB)) as server:
        await occupy(server)
        job = await create(server, "true", queue_timeout=0.3)
    earlier = time.time_ns() - 3_600 * 10**9
    monkeypatch.setattr("time.time_ns", lambda: earlier)
    no_room = replace(ONE_JOB, capacity=CapacityConfig(cpu=150))
    async with running_table(tmp_path, no_room) as server:
        # The queue starts with the next loop iteration: this job is first.
        server.jobs._admission.take(replace(job, id="another"))
        final = await server.ended(job.id)
        assert final.termination
        assert final.termination.reason is TerminationReason.QUEUE_TIMED_OUT
        assert final.end_time_ns
        assert final.end_time_ns >= final.create_time_ns


async def test_a_capacity_that_shrank_below_a_job_ends_it(tmp_path: Path) -> None:
    async with running_table(tmp_path, ONE_JOB) as server:
        await occupy(server)
        job = await create(server, "true")
    async with running_table(tmp_path, replace(ONE_JOB, capacity=CapacityConfig(cpu=99))) as server:
        final = await server.ended(job.id)
        assert final.termination
        assert final.termination.reason is TerminationReason.NOT_STARTED
        assert final.termination.message == (
            "max_cpu: 100 is above capacity.cpu of the server; use at most 99"
        )


async def test_a_lost_key_ends_the_job(tmp_path: Path) -> None:
    async with running_table(tmp_path, ONE_JOB) as server:
        await occupy(server)
        job = await create(server, "true", env={"A": "b"})
    (tmp_path / KEY_FILE).unlink()
    async with running_table(tmp_path, ONE_JOB) as server:
        final = await server.ended(job.id)
        assert final.termination
        assert final.termination.reason is TerminationReason.NOT_STARTED
        assert "the environment of the job cannot be decrypted" in final.termination.message


async def test_a_shutdown_starts_no_jobs(tmp_path: Path) -> None:
    async with running_table(tmp_path, replace(CONFIG, max_jobs=2)) as server:
        for _ in range(2):
            await occupy(server)
        jobs = [await create(server, "sleep", "1000") for _ in range(5)]
        await server.jobs.shut_down(0)
        await asyncio.sleep(0.05)
        assert [server.jobs.get(job.id).status for job in jobs] == [JobStatus.QUEUED] * 5
        stopped = await stop(server, jobs[0])
        assert stopped.status is JobStatus.STOPPED
    async with running_table(tmp_path, replace(CONFIG, max_jobs=2)) as server:
        await status_of(server, jobs[2], JobStatus.RUNNING)
        assert [server.jobs.get(job.id).status for job in jobs] == [
            JobStatus.STOPPED,
            *[JobStatus.RUNNING] * 2,
            *[JobStatus.QUEUED] * 2,
        ]


async def test_a_shutdown_starts_no_job_that_is_leaving_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsealing = asyncio.Event()

    async def slow_unseal(*_: object) -> dict[str, str]:
        unsealing.set()
        await asyncio.sleep(0.05)
        return {}

    monkeypatch.setattr(Sealer, "unseal", slow_unseal)
    async with running_table(tmp_path, ONE_JOB) as server:
        first = await occupy(server)
        job = await create(server, "true", env={"A": "b"})
        await stop(server, first)
        await unsealing.wait()
        await server.jobs.shut_down(0)
        await until(lambda: not server.jobs.queued.is_changing(job.id))
        waiting = server.jobs.get(job.id)
        assert (waiting.status, waiting.queue_reason) == (JobStatus.QUEUED, "the server is shutting down")
        assert server.context.records.sealed_env(job.id)


async def test_a_start_that_a_dead_supervisor_began_leaves_no_trace(tmp_path: Path) -> None:
    async with running_table(tmp_path, ONE_JOB) as server:
        await occupy(server)
        job = await create(server, "echo", "once")
    (tmp_path / "jobs" / job.id).mkdir()
    LogWriter.create(tmp_path / "jobs" / job.id).close()
    async with running_table(tmp_path, ONE_JOB) as server:
        final = await server.ended(job.id)
        assert (final.status, final.log_size) == (JobStatus.COMPLETED, len("once\n"))
