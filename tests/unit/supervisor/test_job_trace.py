"""The trace of a job: what the command gets, and that a retry with another trace finds the same job."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobworkerd.trace_context import TraceContext
from tests.unit.supervisor.job_table import (
    ONE_JOB,
    Server,
    command,
    create,
    occupy,
    running_table,
    stop,
)

TRACE = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")
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
    assert (await server.ended(job.id)).trace == trace
    assert file.read_text() == f"{expected}\n"


async def test_a_queued_job_keeps_its_trace_when_the_server_restarts(tmp_path: Path) -> None:
    file = tmp_path / "printed"
    spec = command("sh", "-c", PRINT.format(file), env={"A": "1"}, queue_timeout=3600.0)
    async with running_table(tmp_path, ONE_JOB) as first:
        await occupy(first)
        job = await first.jobs.start(spec, TRACE)
        assert job.queue_position == 1
    async with running_table(tmp_path, ONE_JOB) as second:
        assert (await second.ended(job.id)).trace == TRACE
    assert file.read_text() == f"{TRACE.traceparent} vendor=1\n"


async def test_a_retry_with_another_trace_is_the_same_job(server: Server) -> None:
    spec = command("sleep", "1000", request_id="r")
    job = await server.jobs.start(spec, TRACE)
    again = await server.jobs.start(spec, OTHER_TRACE)
    assert (again.id, again.trace) == (job.id, TRACE)
    waiting = await create(server, "true", request_id="waits")
    retried = await server.jobs.start(command("true", request_id="waits", queue_timeout=3600.0), OTHER_TRACE)
    assert retried.id == waiting.id
    await stop(server, waiting)
