"""Queued jobs in the table of jobs: what clients see of them, and how they end."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jobworkerd.errors import HostExhausted, JobNotFound, JobNotRunning, TooManyJobs
from jobworkerd.model import Job, JobStatus, LimitsUpdate, StartError, TerminationReason
from jobworkerd.protocol.messages import ListJobs, Progress, UpdateJob
from jobworkerd.records.sealing import Sealer
from tests.unit.supervisor.job_table import (
    ONE_JOB,
    Server,
    create,
    occupy,
    running_table,
    status_of,
    stop,
    until,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Yield a table that runs one job at a time."""
    async with running_table(tmp_path, ONE_JOB) as started:
        yield started


def files_with(directory: Path, data: bytes) -> list[Path]:
    return [path for path in directory.glob("jobworker.db*") if data in path.read_bytes()]


async def test_a_job_waits_and_starts_when_another_has_ended(server: Server) -> None:
    first = await occupy(server)
    second, third = await create(server, "true"), await create(server, "true")
    assert (second.status, second.queue_position) == (JobStatus.QUEUED, 1)
    assert second.queue_reason == "1 job is running, which is the maximum (max_jobs)"
    assert (third.queue_position, third.queue_reason) == (2, f"1 job is ahead; {second.queue_reason}")
    assert server.jobs.get(third.id) == third
    assert server.jobs.progress(third.id) == Progress(third.id, 0)

    await stop(server, first)
    ended = [await server.ended(job.id) for job in (second, third)]
    assert [job.status for job in ended] == [JobStatus.COMPLETED] * 2
    assert ended[0].end_time_ns <= ended[1].start_time_ns  # type: ignore[operator]
    assert all((job.queue_position, job.queue_reason) == (0, "") for job in ended)
    assert server.log.getvalue().count('"job queued"') == 2


async def test_a_job_that_has_room_starts_at_once(server: Server) -> None:
    job = await create(server, "sleep", "1000")
    assert (job.status, job.was_queued) == (JobStatus.RUNNING, False)


async def test_a_job_that_does_not_wait_is_refused(server: Server) -> None:
    first = await occupy(server)
    with pytest.raises(TooManyJobs, match=r"1 job is running.*set queue_timeout"):
        await occupy(server)
    await create(server, "true")
    with pytest.raises(TooManyJobs, match=r"1 job waits in the queue; .*set queue_timeout"):
        await occupy(server)
    await stop(server, first)


async def test_a_list_has_the_positions(server: Server) -> None:
    await occupy(server)
    jobs = [await create(server, "true", priority=priority) for priority in (0, 5, 0)]
    listed = server.jobs.list(ListJobs(page_size=9, statuses=frozenset({JobStatus.QUEUED}))).jobs
    assert [(job.id, job.queue_position) for job in listed] == [
        (jobs[2].id, 3),
        (jobs[1].id, 1),
        (jobs[0].id, 2),
    ]


async def test_the_environment_is_sealed_while_the_job_waits(server: Server, tmp_path: Path) -> None:
    first = await occupy(server)
    job = await create(server, "sh", "-c", "echo $TOKEN", env={"TOKEN": "s3cret"})
    assert server.context.records.sealed_env(job.id)
    assert not files_with(tmp_path, b"s3cret")

    await stop(server, first)
    await server.ended(job.id)
    assert (tmp_path / "jobs" / job.id / "output.log").read_bytes().startswith(b"s3cret\n")
    assert server.context.records.sealed_env(job.id) is None


async def test_a_queued_job_can_be_stopped(server: Server) -> None:
    first = await occupy(server)
    job, other = await create(server, "true"), await create(server, "true")
    stopped = await stop(server, job)
    assert stopped == server.jobs.get(job.id)
    assert (stopped.status, stopped.start_time_ns, stopped.exit_code) == (JobStatus.STOPPED, None, None)
    assert (stopped.queue_position, stopped.queue_reason) == (0, "")
    assert stopped.termination
    assert stopped.termination.reason is TerminationReason.STOPPED
    assert stopped.termination.message == "stopped by CN=bob in the queue; the command never ran"
    assert stopped.termination.stopped_by == "CN=bob"
    assert server.changed[-1] == "stopped"
    assert server.jobs.get(other.id).queue_position == 1
    await stop(server, first)
    await server.ended(other.id)
    assert await stop(server, job) == stopped


async def test_the_end_is_committed_before_it_is_published(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await occupy(server)
    job = await create(server, "true")
    update = server.context.records.update
    found: list[Job] = []

    async def slow_update(final: Job) -> None:
        await update(final)
        await asyncio.sleep(0.02)
        found.append(server.jobs.get(job.id))
        assert server.jobs.progress(job.id) == Progress(job.id, 0)
        listed = server.jobs.list(ListJobs(page_size=1)).jobs[0]
        assert listed.status is not JobStatus.STOPPED

    monkeypatch.setattr(server.context.records, "update", slow_update)
    first, second = await asyncio.gather(stop(server, job), stop(server, job))
    assert [each.status for each in found] == [JobStatus.QUEUED]
    assert first == second == server.jobs.get(job.id)


async def test_a_job_waits_until_its_timeout(server: Server) -> None:
    first = await occupy(server)
    job = await create(server, "true", queue_timeout=0.1)
    final = await server.ended(job.id)
    assert (final.status, final.start_time_ns) == (JobStatus.FAILED, None)
    assert final.termination
    assert final.termination.reason is TerminationReason.QUEUE_TIMED_OUT
    assert final.termination.message == "reached the queue timeout of 0.1 s; the command never ran"
    await stop(server, first)
    assert server.jobs.get(job.id) == final


async def test_the_queue_timeout_does_not_apply_to_a_running_job(server: Server) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    first = await occupy(server)
    job = await create(server, "sleep", "1000", queue_timeout=600.0)
    _, timeout = server.jobs.queued.admission._waiting[job.id]
    await stop(server, first)
    await status_of(server, job, JobStatus.RUNNING)
    assert timeout.cancelled()
    assert not faults


async def test_a_job_that_cannot_start_ends(server: Server) -> None:
    first = await occupy(server)
    job, other = await create(server, "/nonexistent"), await create(server, "true")
    await stop(server, first)
    final = await server.ended(job.id)
    assert final.status is JobStatus.FAILED
    assert final.termination
    assert final.termination.reason is TerminationReason.NOT_STARTED
    assert "/nonexistent" in final.termination.message
    assert final.termination.start_error == StartError("CommandNotStarted", "command", "ENOENT")
    assert (await server.ended(other.id)).status is JobStatus.COMPLETED


async def test_a_queued_job_cannot_be_updated(server: Server) -> None:
    await occupy(server)
    job = await create(server, "true")
    with pytest.raises(JobNotRunning, match="is queued"):
        server.jobs.update(UpdateJob(job.id, "CN=bob", LimitsUpdate(max_pids=5)))


async def test_a_stop_finds_a_job_that_is_being_stored(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await occupy(server)
    insert = server.context.records.insert

    async def slow_insert(*args: object) -> None:
        await asyncio.sleep(0.02)
        await insert(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(server.context.records, "insert", slow_insert)
    creating = asyncio.create_task(create(server, "true"))
    await until(lambda: bool(server.jobs.queued._leaving))
    (job_id,) = server.jobs.queued._leaving
    job = server.jobs.get(job_id)
    assert (await stop(server, job)).status is JobStatus.STOPPED
    assert (await creating).id == job_id


async def test_a_job_that_could_not_be_stored_is_unknown(server: Server) -> None:
    await occupy(server)
    with pytest.MonkeyPatch.context() as patch:

        async def refusing(*_: object) -> None:
            await asyncio.sleep(0.02)
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(server.context.records, "insert", refusing)
        creating = asyncio.create_task(create(server, "true"))
        await until(lambda: bool(server.jobs.queued._leaving))
        job = server.jobs.get(*server.jobs.queued._leaving)
        with pytest.raises(JobNotFound):
            await stop(server, job)
        with pytest.raises(HostExhausted, match="No space left"):
            await creating
    assert (await create(server, "true")).queue_position == 1


async def test_a_stop_finds_a_job_that_is_leaving_the_queue(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseal = Sealer.unseal

    async def slow_unseal(*args: Any) -> dict[str, str]:
        await asyncio.sleep(0.05)
        return await unseal(*args)

    monkeypatch.setattr(Sealer, "unseal", slow_unseal)
    first = await occupy(server)
    job = await create(server, "sleep", "1000", env={"A": "b"})
    await stop(server, first)
    await status_of(server, job, JobStatus.INITIALIZING)
    assert job.id not in server.jobs._live
    final = await stop(server, job)
    assert final.status is JobStatus.STOPPED
    assert final.start_time_ns, "it was too late to prevent the start"
