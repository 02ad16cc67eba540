"""The trace of a job: what the command gets, and that a retry with another trace finds the same job."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.model import Job
from jobworkerd.protocol.messages import DeleteJob
from jobworkerd.trace_context import JobTrace, TraceContext
from tests.unit.supervisor.job_table import (
    ONE_JOB,
    Server,
    command,
    create,
    occupy,
    running_table,
    stop,
    until,
)

TRACE = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")
EXPORTED = replace(TRACE, exported=True)
OTHER_TRACE = TraceContext("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01")
PRINT = 'echo "$TRACEPARENT $TRACESTATE" > {}'


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Yield a table that runs one job at a time."""
    async with running_table(tmp_path, ONE_JOB) as started:
        yield started


@pytest.mark.parametrize(
    ("env", "trace", "expected"),
    [
        ({}, TRACE, f"{TRACE.traceparent} vendor=1"),
        ({}, OTHER_TRACE, f"{OTHER_TRACE.traceparent} "),
        ({}, None, " "),
        ({"TRACEPARENT": "own"}, TRACE, "own "),
        ({"TRACESTATE": "own=1"}, TRACE, f"{TRACE.traceparent} own=1"),
    ],
    ids=["trace", "no state", "no trace", "the client's trace", "the client's state"],
)
async def test_the_environment_has_the_trace(
    server: Server, tmp_path: Path, env: dict[str, str], trace: TraceContext | None, expected: str
) -> None:
    file = tmp_path / "printed"
    spec = command("sh", "-c", PRINT.format(file), env=env)
    job = await server.jobs.start(spec, trace)
    assert (await server.ended(job.id)).trace == (trace and JobTrace(trace))
    assert file.read_text() == f"{expected}\n"


async def test_a_queued_job_keeps_its_trace_when_the_server_restarts(tmp_path: Path) -> None:
    file = tmp_path / "printed"
    spec = command("sh", "-c", PRINT.format(file), env={"A": "1"}, queue_timeout=3600.0)
    async with running_table(tmp_path, ONE_JOB) as first:
        await occupy(first)
        job = await first.jobs.start(spec, TRACE)
        assert job.queue_position == 1
    async with running_table(tmp_path, ONE_JOB) as second:
        assert (await second.ended(job.id)).trace == JobTrace(TRACE)
    assert file.read_text() == f"{TRACE.traceparent} vendor=1\n"


async def test_the_span_of_a_job_is_the_parent_of_its_command(server: Server, tmp_path: Path) -> None:
    ended: list[Job] = []
    server.context.spans.connected(ended.append, exports=True)
    file = tmp_path / "printed"
    started = await server.jobs.start(command("sh", "-c", PRINT.format(file)), EXPORTED)
    assert started.trace
    assert [step.name for step in started.trace.steps] == ["spare_process", "cgroup", "record", "exec"]
    times = [time for step in started.trace.steps for time in (step.start_ns, step.end_ns)]
    assert started.start_time_ns
    assert [started.create_time_ns, *times, started.start_time_ns] == sorted(
        [started.create_time_ns, *times, started.start_time_ns]
    )
    final = await server.ended(started.id)
    assert final.trace == started.trace
    await until(lambda: bool(ended))
    assert [(job.id, job.trace) for job in ended] == [(final.id, final.trace)]
    traceparent, state = file.read_text().split()
    assert (traceparent[:36], traceparent[52:], state) == (TRACE.traceparent[:36], "-01", "vendor=1")
    assert traceparent[36:52] == final.trace.span_id != TRACE.span_id


async def test_the_span_of_a_queued_job_survives_a_restart(tmp_path: Path) -> None:
    ended: list[Job] = []
    spec = command("true", queue_timeout=3600.0)
    async with running_table(tmp_path, ONE_JOB) as first:
        await occupy(first)
        queued = await first.jobs.start(spec, EXPORTED)
        assert queued.trace
        assert (bool(queued.trace.span_id), queued.trace.steps) == (True, ())
    async with running_table(tmp_path, ONE_JOB) as second:
        await second.ended(queued.id)
        await until(lambda: second.context.spans._unsent.keys() >= {queued.id})
        second.context.spans.connected(ended.append, exports=True)
    found = next(job for job in ended if job.id == queued.id)
    assert found.trace
    assert found.trace.span_id == queued.trace.span_id
    assert [step.name for step in found.trace.steps] == ["spare_process", "cgroup", "record", "exec"]


async def test_lines_about_a_job_have_the_ids_of_its_span(server: Server) -> None:
    job = await server.run("true")
    traced = await server.ended((await server.jobs.start(command("true"), EXPORTED)).id)
    await server.jobs.delete(DeleteJob(traced.id, "CN=bob"))
    lines = [json.loads(line) for line in server.log.getvalue().splitlines()]
    events = ["job started", "limits not in force", "isolation not in force", "job ended", "job deleted"]
    of_traced = [line for line in lines if line["job_id"] == traced.id]
    assert {line["event"] for line in of_traced} <= set(events)
    assert len(of_traced) >= 3
    assert traced.trace
    ids = (TRACE.trace_id, traced.trace.span_id)
    assert {(line["trace_id"], line["span_id"]) for line in of_traced} == {ids}
    assert not any(line.keys() & {"trace_id", "span_id"} for line in lines if line["job_id"] == job.id)


async def test_a_retry_with_another_trace_is_the_same_job(server: Server) -> None:
    spec = command("sleep", "1000", request_id="r")
    job = await server.jobs.start(spec, TRACE)
    again = await server.jobs.start(spec, OTHER_TRACE)
    assert (again.id, again.trace) == (job.id, JobTrace(TRACE))
    waiting = await create(server, "true", request_id="waits")
    retried = await server.jobs.start(command("true", request_id="waits", queue_timeout=3600.0), OTHER_TRACE)
    assert retried.id == waiting.id
    await stop(server, waiting)
