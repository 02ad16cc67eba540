"""Metrics of the supervisor about real jobs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.errors import CommandNotStarted
from jobworkerd.logs.totals import LogTotals
from jobworkerd.metrics import definitions
from jobworkerd.metrics.definitions import Metric
from jobworkerd.metrics.instruments import Sample
from jobworkerd.model import JobStatus, Usage
from jobworkerd.supervisor.counters import Counters
from sample_jobs import FINAL
from tests.unit.supervisor.job_table import NO_TIMEOUT, ONE_JOB, Server, command, running_table


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_table(tmp_path, ONE_JOB) as started:
        yield started


def samples(server: Server, metric: Metric) -> dict[str, Sample]:
    """Return the samples of a metric by their attributes."""
    jobs, context = server.jobs, server.context
    snapshot = context.counters.snapshot(
        len(jobs.live_ids), len(jobs.queued.admission), context.logs.totals, Path("/")
    )
    return {",".join(each.attributes): each for each in snapshot.samples if each.metric == metric.name}


def value(server: Server, metric: Metric, attribute: str = "") -> float:
    return samples(server, metric)[attribute].value


def count(server: Server, metric: Metric, attribute: str = "") -> int:
    return sum(samples(server, metric)[attribute].counts)


async def test_a_job_from_start_to_end(server: Server) -> None:
    assert value(server, definitions.JOB_ACTIVE, "running") == 0
    job = await server.jobs.start(command("sh", "-c", "echo hello; read line", stdin="open"))
    assert value(server, definitions.JOB_ACTIVE, "running") == 1
    assert value(server, definitions.JOB_ACTIVE, "initializing") == 0
    assert count(server, definitions.JOB_START_DURATION) == 1
    assert 0 < value(server, definitions.JOB_START_DURATION) < 20
    server.jobs.kill_all()
    await server.ended(job.id)
    assert value(server, definitions.JOB_ACTIVE, "running") == 0
    assert count(server, definitions.JOB_DURATION, "stopped") == 1
    await server.run("echo", "hello")
    assert count(server, definitions.JOB_DURATION, "completed") == 1
    assert value(server, definitions.LOG_WRITTEN) >= 6
    assert value(server, definitions.LOG_LOST) == 0


async def test_a_job_that_waits(server: Server) -> None:
    first = await server.jobs.start(command("sleep", "100"))
    second = await server.jobs.start(command("true", queue_timeout=NO_TIMEOUT))
    assert value(server, definitions.QUEUE_LENGTH) == 1
    assert value(server, definitions.JOB_ACTIVE, "running") == 1
    server.jobs.kill_all()
    await server.ended(first.id)
    await server.ended(second.id)
    assert value(server, definitions.QUEUE_LENGTH) == 0
    assert count(server, definitions.JOB_START_DURATION) == 2


async def test_a_failed_start_has_no_duration(server: Server) -> None:
    with pytest.raises(CommandNotStarted):
        await server.jobs.start(command("/nonexistent"))
    assert count(server, definitions.JOB_START_DURATION) == 0
    assert value(server, definitions.JOB_ACTIVE, "initializing") == 0
    assert samples(server, definitions.JOB_DURATION) == {}


async def test_a_job_is_starting_until_its_command_runs(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, during = server.context.records.insert, []

    async def watched_insert(*args: object) -> None:
        during.append([value(server, definitions.JOB_ACTIVE, each) for each in ("initializing", "running")])
        await insert(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(server.context.records, "insert", watched_insert)
    await server.run("true")
    assert during == [[1, 0]]


def test_results_and_kills_of_final_jobs() -> None:
    counters = Counters()
    ended = replace(FINAL, start_time_ns=10**9, end_time_ns=3 * 10**9)
    counters.ended(replace(ended, usage=Usage(oom_kill_count=3)))
    counters.ended(replace(ended, status=JobStatus.LOST))
    counters.ended(replace(FINAL, status=JobStatus.FAILED, start_time_ns=None, end_time_ns=1))
    found = list(counters._samples(0, 0))
    (kills,) = [each.value for each in found if each.metric == definitions.JOB_OOM_KILLS.name]
    durations = {
        each.attributes: each.value for each in found if each.metric == definitions.JOB_DURATION.name
    }
    assert kills == 3
    assert durations == {("completed",): 2, ("lost",): 2}, "a job that never ran has no duration"


def test_the_space_of_a_missing_disk_is_left_out() -> None:
    counters = Counters()
    names = {each.metric for each in counters.snapshot(0, 0, LogTotals(), Path("/")).samples}
    without = {each.metric for each in counters.snapshot(0, 0, LogTotals(), Path("/nonexistent")).samples}
    assert names - without == {definitions.DISK_AVAILABLE.name, definitions.DISK_SIZE.name}
