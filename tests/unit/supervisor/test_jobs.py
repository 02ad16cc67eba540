"""The table of jobs with a database: order of commits, history, request ids and removal."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from job_context import new_job
from msgspec.structs import replace

from jobworkerd.errors import CommandNotStarted, HostExhausted, JobNotFinal, JobNotFound, RequestIdReused
from jobworkerd.model import Job, JobStatus, LimitsUpdate
from jobworkerd.protocol.messages import DeleteJob, ListJobs, Progress, StopJob, UpdateJob
from jobworkerd.records.encoding import request_hash
from jobworkerd.spawn import process
from tests.unit.supervisor.job_table import (
    Server,
    accept_writes,
    command,
    refuse_writes,
    running_table,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_table(tmp_path) as started:
        yield started


async def test_nothing_runs_before_its_record_is_committed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    insert, release = server.context.records.insert, process.release

    async def slow_insert(*args: object) -> None:
        await asyncio.sleep(0.05)
        await insert(*args)  # type: ignore[arg-type]
        order.append("committed")

    def recorded_release(*args: object) -> None:
        order.append("released")
        release(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(server.context.records, "insert", slow_insert)
    monkeypatch.setattr(process, "release", recorded_release)
    await server.run("true")
    assert order == ["committed", "released"]


async def test_the_end_is_committed_before_it_is_published(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = server.context.records.update
    committing = asyncio.Event()

    async def slow_update(job: Job) -> None:
        committing.set()
        await asyncio.sleep(0.05)
        assert "completed" not in server.changed
        await update(job)

    monkeypatch.setattr(server.context.records, "update", slow_update)
    job = await server.jobs.start(command("true"))
    await committing.wait()
    found = server.jobs.get(job.id, live_usage=True)
    assert found.status is JobStatus.RUNNING
    assert list(server.jobs.live) == []
    stopped = asyncio.create_task(server.jobs.stop(StopJob(job_id=job.id, subject="CN=bob")))
    final = await server.ended(job.id)
    assert final.status is JobStatus.COMPLETED
    assert await stopped == final
    assert server.changed[-1] == "completed"


async def test_history_survives_a_restart(tmp_path: Path) -> None:
    async with running_table(tmp_path) as first:
        jobs = [await first.run("sh", "-c", f"exit {code}", labels={"k": "v"}) for code in (0, 1)]
        assert [job.exit_code for job in jobs] == [0, 1]
    async with running_table(tmp_path) as second:
        for job in jobs:
            assert second.jobs.get(job.id) == job
            assert second.jobs.progress(job.id) == Progress(job.id, 0, job)
            assert await second.jobs.stop(StopJob(job_id=job.id, subject="CN=bob")) == job
        newest = await second.run("true")
        page = second.jobs.list(ListJobs(page_size=9))
        assert [job.id for job in page.jobs] == [newest.id, jobs[1].id, jobs[0].id]


async def test_ids_stay_in_order_after_a_restart_with_an_earlier_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_table(tmp_path) as first:
        old = await first.run("true")
    monkeypatch.setattr("time.time_ns", lambda: 1_000 * 10**9)
    async with running_table(tmp_path) as second:
        new = await second.run("true")
        assert new.id > old.id
        assert [job.id for job in second.jobs.list(ListJobs(page_size=9)).jobs] == [new.id, old.id]


async def test_a_request_id_starts_one_job_across_restarts(tmp_path: Path) -> None:
    spec = command("sh", "-c", "exit 3", request_id="r", env={"A": "1", "B": "2"})
    async with running_table(tmp_path) as first:
        started = await asyncio.gather(*(first.jobs.start(spec) for _ in range(3)))
        assert len({job.id for job in started}) == 1
        job = await first.ended(started[0].id)
        assert await first.jobs.start(spec) == job
    async with running_table(tmp_path) as second:
        request = second.context.records.first_request(spec)
        assert request
        assert request_hash(spec) not in request.request_hash, "a guess of a secret could be checked"
        assert await second.jobs.start(replace(spec, env={"B": "2", "A": "1"})) == job
        with pytest.raises(RequestIdReused, match=job.id):
            await second.jobs.start(replace(spec, env={"A": "2"}))


async def test_a_failed_start_leaves_no_record(server: Server) -> None:
    spec = command("/nonexistent", request_id="r")
    for _ in range(2):
        with pytest.raises(CommandNotStarted):
            await server.jobs.start(spec)
    assert server.jobs.list(ListJobs(page_size=9)).jobs == ()
    assert server.context.records.unfinished() == []


async def test_a_running_job_is_listed_with_its_current_state(server: Server) -> None:
    job = await server.jobs.start(command("sleep", "100"))
    server.jobs.update(UpdateJob(job.id, "CN=bob", LimitsUpdate(max_pids=5)))
    (listed,) = server.jobs.list(ListJobs(page_size=9, statuses=frozenset({JobStatus.RUNNING}))).jobs
    assert (listed.pid, listed.spec.limits.max_pids) == (job.pid, 5)
    (recorded,) = server.context.records.unfinished()
    assert (recorded.status, recorded.pid, recorded.spec.limits.max_pids) == (JobStatus.RUNNING, job.pid, 5)
    assert recorded.start_time_ns == job.start_time_ns


@pytest.mark.parametrize("job_id", ["", "x", "\0", "é" * 36, "0" * 36, "x" * 1_000])
async def test_no_job_has_an_id_of_another_form(server: Server, job_id: str) -> None:
    with pytest.raises(JobNotFound):
        server.jobs.get(job_id)


async def test_delete_removes_the_record_the_log_and_the_request_id(server: Server, tmp_path: Path) -> None:
    spec = command("echo", "hello", request_id="r")
    job = await server.ended((await server.jobs.start(spec)).id)
    log = tmp_path / "jobs" / job.id
    assert log.exists()
    await server.jobs.delete(DeleteJob(job.id, "CN=bob"))
    assert server.forgotten == [job.id]
    assert not log.exists()
    with pytest.raises(JobNotFound):
        server.jobs.get(job.id)
    with pytest.raises(JobNotFound):
        await server.jobs.delete(DeleteJob(job.id, "CN=bob"))
    assert (await server.jobs.start(spec)).id != job.id
    assert '"event": "job deleted"' in server.log.getvalue()


async def test_concurrent_deletes_of_one_job(server: Server) -> None:
    job = await server.run("true")
    request = DeleteJob(job.id, "CN=bob")
    await asyncio.gather(server.jobs.delete(request), server.jobs.delete(request), return_exceptions=True)
    assert server.jobs.list(ListJobs(page_size=9)).jobs == ()


async def test_a_job_that_runs_is_not_deleted(server: Server) -> None:
    job = await server.jobs.start(command("sleep", "100"))
    with pytest.raises(JobNotFinal):
        await server.jobs.delete(DeleteJob(job.id, "CN=bob"))
    assert server.jobs.get(job.id).status is JobStatus.RUNNING


async def test_a_queued_job_is_not_deleted(server: Server) -> None:
    queued = "0199f3a0-0000-7000-8000-000000000001"
    job = replace(new_job("true"), id=queued, status=JobStatus.QUEUED)
    await server.context.records.insert(job)
    with pytest.raises(JobNotFinal):
        await server.jobs.delete(DeleteJob(job.id, "CN=bob"))
    assert server.jobs.get(job.id) == job


async def test_a_job_remains_if_the_disk_refuses_its_deletion(tmp_path: Path) -> None:
    async with running_table(tmp_path, faults=[]) as server:
        job = await server.run("true")
        refuse_writes(server)
        with pytest.raises(HostExhausted, match="cannot be deleted"):
            await server.jobs.delete(DeleteJob(job.id, "CN=bob"))
        assert server.jobs.get(job.id) == job
        accept_writes(server)
        await server.jobs.delete(DeleteJob(job.id, "CN=bob"))


async def test_a_full_disk_refuses_new_jobs_and_keeps_the_results_of_running_jobs(tmp_path: Path) -> None:
    faults: list[str] = []
    async with running_table(tmp_path, faults=faults) as server:
        marker = tmp_path / "ran"
        running_job = await server.jobs.start(command("sleep", "100"))
        refuse_writes(server)
        with pytest.raises(HostExhausted, match="record of the job cannot be stored"):
            await server.jobs.start(command("touch", str(marker), request_id="r"))
        assert not marker.exists()
        await server.jobs.stop(StopJob(job_id=running_job.id, subject="CN=bob", grace_period=0))
        assert server.jobs.get(running_job.id).status is JobStatus.STOPPED
        (listed,) = server.jobs.list(ListJobs(page_size=9)).jobs
        assert listed.status is JobStatus.STOPPED
        assert faults == ["records"]
        accept_writes(server)
        job = await server.run("touch", str(marker), request_id="r")
        assert marker.exists()
    async with running_table(tmp_path) as again:
        assert again.jobs.get(running_job.id) == listed
        assert again.jobs.get(job.id) == job


async def test_the_process_groups_of_all_jobs_can_be_killed(server: Server) -> None:
    """The supervisor does so when the keeper has died, and no cgroup or PID namespace ends the jobs."""
    jobs = [await server.jobs.start(command("sh", "-c", "sleep 1000 & wait")) for _ in range(2)]
    server.jobs.kill_process_groups()
    for job in jobs:
        ended = await server.ended(job.id)
        assert ended.termination
        assert ended.termination.signal == signal.SIGKILL
