"""Jobs of a server that died."""

import dataclasses
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from job_context import NO_CGROUPS, job_context, new_job, spare_setup
from msgspec.structs import replace

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.sweep import Removed
from jobworkerd.config import IsolationConfig, LoggingConfig
from jobworkerd.job_id import JobIds
from jobworkerd.metrics.definitions import JOB_DURATION
from jobworkerd.model import Job, JobStatus, OutputSource, TerminationReason, Usage
from jobworkerd.supervisor import boot as host_boot
from jobworkerd.supervisor import lost_jobs
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_events import JobEvents
from jobworkerd.supervisor.lost_jobs import end_lost_jobs
from jobworkerd.trace_context import JobTrace, TraceContext

IDS = JobIds()


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[JobContext]:
    with job_context(tmp_path, Hierarchy(None, NO_CGROUPS), spare_setup(), IsolationConfig()) as made:
        yield made


@pytest.fixture
def log() -> io.StringIO:
    """The server's log."""
    return io.StringIO()


@pytest.fixture
def events(log: io.StringIO) -> JobEvents:
    return JobEvents(EventLog(LoggingConfig(format="json"), log))


@pytest.fixture(autouse=True)
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Set the id of the boot. The first one is `one`."""
    file = tmp_path / "boot_id"
    file.write_text("one\n")
    monkeypatch.setattr(host_boot, "_BOOT_ID_FILE", file)
    return file.write_text


def job(status: JobStatus) -> Job:
    trace = JobTrace.below(TraceContext("00-" + "1" * 32 + "-" + "2" * 16 + "-01", exported=True))
    return replace(new_job("true", job_id=IDS.new()), status=status, pid=7, trace=trace)


def found(context: JobContext, job_id: str) -> Job:
    lost = context.records.get(job_id)
    assert lost
    assert lost.termination
    return lost


async def test_unfinished_jobs_are_lost_and_others_stay(
    context: JobContext, events: JobEvents, log: io.StringIO
) -> None:
    end_lost_jobs(context, events, {})
    statuses = (JobStatus.RUNNING, JobStatus.INITIALIZING, JobStatus.COMPLETED, JobStatus.QUEUED)
    running, initializing, completed, queued = jobs = [job(status) for status in statuses]
    jobs[0] = running = replace(running, start_time_ns=running.create_time_ns)
    adopted = job(JobStatus.RUNNING)
    for each in (*jobs, adopted):
        await context.records.insert(each)
    end_lost_jobs(context, events, {}, {adopted.id})
    for each in (completed, queued, adopted):
        assert context.records.get(each.id) == each
    for each, when in ((running, "ran"), (initializing, "started")):
        lost = found(context, each.id)
        assert (lost.status, lost.pid, lost.exit_code) == (JobStatus.LOST, 0, None)
        assert lost.termination
        assert lost.termination.reason is TerminationReason.LOST
        assert (
            lost.termination.message
            == f"lost: the server was killed while the job {when}, so its result is unknown"
        )
        assert lost.end_time_ns
        assert lost.end_time_ns >= each.create_time_ns
    assert [json.loads(line)["job_id"] for line in log.getvalue().splitlines()] == [
        running.id,
        initializing.id,
    ]
    spans: list[Job] = []
    context.spans.connected(spans.append, exports=True)
    assert [each.id for each in spans] == [running.id, initializing.id]
    samples = context.counters.snapshot(0, 0, context.logs.totals, Path("/")).samples
    (duration,) = [each for each in samples if each.metric == JOB_DURATION.name]
    assert (duration.attributes, sum(duration.counts)) == (("lost",), 1), "the other one never ran"
    assert context.records.unfinished() == [adopted]
    assert context.records.final_jobs() == 2


async def test_the_message_says_that_the_host_restarted(
    context: JobContext, events: JobEvents, boot: Callable[[str], object]
) -> None:
    end_lost_jobs(context, events, {})
    running = job(JobStatus.RUNNING)
    await context.records.insert(running)
    boot("two\n")
    end_lost_jobs(context, events, {})
    lost = found(context, running.id)
    assert lost.termination
    assert "the host restarted" in lost.termination.message
    another = job(JobStatus.RUNNING)
    await context.records.insert(another)
    end_lost_jobs(context, events, {})
    lost = found(context, another.id)
    assert lost.termination
    assert "the server was killed" in lost.termination.message


async def test_the_usage_is_that_of_the_cgroup_or_else_the_last_known(
    context: JobContext, events: JobEvents
) -> None:
    with_cgroup, without = (
        replace(job(JobStatus.RUNNING), usage=Usage(cpu_user_usec=1, wall_usec=9, memory_current_bytes=4))
        for _ in range(2)
    )
    for each in (with_cgroup, without):
        await context.records.insert(each)
    removed = {with_cgroup.id: Removed(Usage(cpu_user_usec=5, oom_kill_count=1), "")}
    end_lost_jobs(context, events, removed)
    lost = found(context, with_cgroup.id)
    assert lost.usage == Usage(cpu_user_usec=5, oom_kill_count=1, wall_usec=9)
    assert lost.termination
    assert (lost.termination.oom_killed, lost.termination.leftovers_killed) == (True, True)
    lost = found(context, without.id)
    assert lost.usage == Usage(cpu_user_usec=1, wall_usec=9)
    assert lost.termination
    assert (lost.termination.oom_killed, lost.termination.leftovers_killed) == (False, False)


async def test_only_lost_jobs_are_removed_from_the_base_of_an_earlier_start(
    tmp_path: Path, events: JobEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[tuple[Path, set[str]]] = []

    def sweep(base: Path, job_ids: set[str]) -> dict[str, Removed]:
        swept.append((base, job_ids))
        return {job_id: Removed(Usage(cpu_user_usec=5), "") for job_id in job_ids}

    monkeypatch.setattr(lost_jobs, "sweep_former_base", sweep)
    first, second = Hierarchy(Path("/a")), Hierarchy(Path("/b"))
    with job_context(tmp_path, first, spare_setup(), IsolationConfig()) as context:
        end_lost_jobs(context, events, {})
        running, adopted, ended = job(JobStatus.RUNNING), job(JobStatus.RUNNING), job(JobStatus.COMPLETED)
        for each in (running, adopted, ended):
            await context.records.insert(each)
        end_lost_jobs(context, events, {}, {running.id, adopted.id})
        assert not swept
        end_lost_jobs(replace_hierarchy(context, second), events, {}, {adopted.id})
        assert swept == [(Path("/a"), {running.id})]
        assert found(context, running.id).usage.cpu_user_usec == 5
        end_lost_jobs(replace_hierarchy(context, second), events, {}, {adopted.id})
        assert len(swept) == 1


def replace_hierarchy(context: JobContext, hierarchy: Hierarchy) -> JobContext:
    return dataclasses.replace(context, hierarchy=hierarchy)


async def test_the_log_is_complete_and_closed(context: JobContext, events: JobEvents, tmp_path: Path) -> None:
    running = job(JobStatus.RUNNING)
    await context.records.insert(running)
    context.logs.open(running.id).append(OutputSource.STDOUT, memoryview(b"hello\n"), 1)
    context.logs._live.clear()  # as if the process had died
    end_lost_jobs(context, events, {})
    assert found(context, running.id).log_size == 6
    assert not context.logs.is_live(running.id)
    context.records._queue.flush()
    assert context.records.ended_logs.total > 6
    assert (tmp_path / running.id).exists()


async def test_a_clock_that_was_set_back_does_not_move_the_end_before_the_start(
    context: JobContext, events: JobEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = job(JobStatus.RUNNING)
    running = replace(running, start_time_ns=running.create_time_ns + 5)
    await context.records.insert(running)
    monkeypatch.setattr("time.time_ns", lambda: 1)
    end_lost_jobs(context, events, {})
    assert found(context, running.id).end_time_ns == running.start_time_ns
