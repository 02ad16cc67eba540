"""The starts of queued jobs: capacity, order and an exhausted host."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from jobworkerd.config import CapacityConfig
from jobworkerd.errors import HostExhausted, TooManyJobs
from jobworkerd.model import JobStatus, LimitsUpdate, TerminationReason
from jobworkerd.protocol.messages import UpdateJob
from jobworkerd.spawn.spare_pool import SparePool
from jobworkerd.supervisor import admission
from jobworkerd.supervisor.job_start import JobStart
from tests.unit.supervisor.job_table import (
    CONFIG,
    ONE_JOB,
    Server,
    accept_writes,
    command,
    create,
    occupy,
    refuse_writes,
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


async def test_the_queue_is_bounded(tmp_path: Path) -> None:
    async with running_table(tmp_path, replace(ONE_JOB, max_queued=1)) as server:
        await occupy(server)
        results = await asyncio.gather(*(create(server, "true") for _ in range(3)), return_exceptions=True)
        refused = [each for each in results if isinstance(each, TooManyJobs)]
        assert len(refused) == 2
        assert "1 job waits in the queue, which is the maximum (max_queued)" in str(refused[0])


async def test_a_large_job_is_not_overtaken_by_smaller_ones(tmp_path: Path) -> None:
    config = replace(CONFIG, capacity=CapacityConfig(memory=100))
    small = command("sleep", "1000").limits
    large = replace(small, max_memory=100)
    async with running_table(tmp_path, config) as server:
        first = await occupy(server, owner="CN=bob")
        big = await create(server, "sleep", "1000", limits=large)
        after = await create(server, "sleep", "1000", owner="CN=carl", limits=replace(small, max_memory=1))
        assert big.queue_reason == "100 MiB of memory needed, 36 of 100 available (capacity.memory)"
        await asyncio.sleep(0.05)
        assert server.jobs.get(after.id).status is JobStatus.QUEUED, "there is room for it"
        await stop(server, first)
        await status_of(server, big, JobStatus.RUNNING)
        assert server.jobs.get(after.id).status is JobStatus.QUEUED
        await stop(server, big)
        await status_of(server, after, JobStatus.RUNNING)


async def test_an_owner_with_fewer_running_jobs_does_not_starve_a_large_job(tmp_path: Path) -> None:
    config = replace(CONFIG, capacity=CapacityConfig(memory=128))
    large = replace(command("true").limits, max_memory=100)
    async with running_table(tmp_path, config) as server:
        alice = await occupy(server)
        bob = await occupy(server, owner="CN=bob")
        big = await create(server, "sleep", "1000", limits=large)
        await asyncio.sleep(0.01)
        small = await create(server, "sleep", "1000", owner="CN=bob")
        await stop(server, bob)  # now bob has fewer running jobs than alice
        await asyncio.sleep(0.05)
        assert server.jobs.get(small.id).status is JobStatus.QUEUED
        await stop(server, alice)
        await status_of(server, big, JobStatus.RUNNING)


async def test_smaller_limits_of_a_running_job_make_room(tmp_path: Path) -> None:
    config = replace(CONFIG, capacity=CapacityConfig(cpu=150))
    async with running_table(tmp_path, config) as server:
        first = await occupy(server)
        job = await create(server, "true")
        assert job.queue_reason == "100 % of CPU needed, 50 of 150 available (capacity.cpu)"
        server.jobs.update(UpdateJob(first.id, "CN=bob", LimitsUpdate(max_cpu=50)))
        assert (await server.ended(job.id)).status is JobStatus.COMPLETED


async def test_a_job_waits_again_while_the_host_is_exhausted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await occupy(server)
    job, other = await create(server, "true"), await create(server, "true", owner="CN=bob")
    failures = [OSError(errno.EMFILE, "Too many open files")]
    take = SparePool.take

    async def failing_take(pool: SparePool) -> object:
        if failures:
            raise failures.pop()
        return await take(pool)

    monkeypatch.setattr(SparePool, "take", failing_take)
    await stop(server, first)
    await until(lambda: not failures)
    waiting = await status_of(server, job, JobStatus.QUEUED)
    assert waiting.queue_position == 1
    assert waiting.queue_reason == "the host of the server is exhausted (Too many open files)"
    ended = [await server.ended(each.id) for each in (job, other)]
    assert [each.status for each in ended] == [JobStatus.COMPLETED] * 2
    assert ended[0].start_time_ns < ended[1].start_time_ns  # type: ignore[operator]


async def test_an_exhausted_host_does_not_change_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_table(tmp_path, replace(CONFIG, max_jobs=2)) as server:
        first, _ = await occupy(server), await occupy(server)
        job = await create(server, "sleep", "1000")
        failures = [OSError(errno.EAGAIN, "Resource temporarily unavailable")]
        take = SparePool.take

        async def failing_take(pool: SparePool) -> object:
            if failures:
                raise failures.pop()
            return await take(pool)

        monkeypatch.setattr(SparePool, "take", failing_take)
        await stop(server, first)
        await until(lambda: not failures)
        other = await create(server, "sleep", "1000", owner="CN=bob")  # this owner has no running job
        assert other.queue_position == 2
        await status_of(server, job, JobStatus.RUNNING)
        assert server.jobs.get(other.id).status is JobStatus.QUEUED


async def test_a_start_that_fails_after_its_commit_is_not_repeated(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await occupy(server)
    job = await create(server, "sleep", "1000")

    async def failing_execute(start: JobStart) -> None:
        await start._processes.report()  # the main process exists, and nothing has read its PID
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(JobStart, "execute", failing_execute)
    await stop(server, first)
    final = await server.ended(job.id)
    assert final.termination
    assert final.termination.reason is TerminationReason.NOT_STARTED
    assert "Resource temporarily unavailable" in final.termination.message
    await until(lambda: not running("sleep"))


def running(name: str) -> list[int]:
    """Return the children of this process, as of the keeper, that execute a program."""
    found = (each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE)
    return [each.pid for each in found if each.name() == name]


async def test_nothing_runs_while_the_disk_refuses_the_start(tmp_path: Path) -> None:
    faults: list[str] = []
    ran = tmp_path / "ran"
    async with running_table(tmp_path, ONE_JOB, faults) as server:
        first = await occupy(server)
        job = await create(server, "sh", "-c", f"echo once >> {ran}")
        refuse_writes(server)
        with pytest.raises(HostExhausted, match="record of the job cannot be stored"):
            await create(server, "true")
        await stop(server, first)
        waiting = await status_of(server, job, JobStatus.QUEUED)
        await until(lambda: "cannot be stored" in server.jobs.get(job.id).queue_reason)
        assert not ran.exists()
        accept_writes(server)
        assert (await server.ended(job.id)).create_time_ns == waiting.create_time_ns
    assert ran.read_text() == "once\n"


async def test_a_stop_in_the_queue_waits_until_the_disk_accepts_the_end(tmp_path: Path) -> None:
    """A supervisor that was killed before that would find the job in the queue again."""
    faults: list[str] = []
    async with running_table(tmp_path, ONE_JOB, faults) as server:
        await occupy(server)
        job = await create(server, "true")
        refuse_writes(server)
        stopping = asyncio.create_task(stop(server, job))
        await until(lambda: bool(faults))
        for _ in range(9):
            await asyncio.sleep(0)
        assert not stopping.done()
        assert server.jobs.get(job.id).status is JobStatus.QUEUED
        accept_writes(server)
        assert (await stopping).status is JobStatus.STOPPED


async def test_starts_have_the_order_of_the_queue(tmp_path: Path) -> None:
    """More than one job starts at a time, but not at the same time."""
    async with running_table(tmp_path, replace(CONFIG, max_jobs=4)) as server:
        first = [await occupy(server) for _ in range(4)]
        jobs = [await create(server, "sleep", "1000", priority=number % 3) for number in range(4)]
        await asyncio.gather(*(stop(server, job) for job in first))
        started = [await status_of(server, job, JobStatus.RUNNING) for job in jobs]
        in_order = sorted(started, key=lambda job: job.start_time_ns or 0)
        assert [job.id for job in in_order] == [jobs[number].id for number in (2, 1, 0, 3)]


async def test_a_start_that_hangs_delays_the_next_one_only_for_some_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_START_SECONDS", 0.05)
    hanging, released = asyncio.Event(), asyncio.Event()
    take = SparePool.take

    async def slow_take(pool: SparePool) -> object:
        if not hanging.is_set():
            hanging.set()
            await released.wait()
        return await take(pool)

    async with running_table(tmp_path, replace(CONFIG, max_jobs=2)) as server:
        first = [await occupy(server) for _ in range(2)]
        jobs = [await create(server, "true") for _ in range(2)]
        monkeypatch.setattr(SparePool, "take", slow_take)
        for job in first:
            await stop(server, job)
        await server.ended(jobs[1].id)
        assert server.jobs.get(jobs[0].id).start_time_ns is None
        released.set()
        await server.ended(jobs[0].id)
