"""Tests of queued jobs: `queue`, `create --queue`, `run --queue`, and the ends of jobs that never ran."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobworker.v1 import job_pb2
from jobworker_cli.actions import queue
from jobworker_client import Client
from tests.unit.cli.conftest import (
    JOB_ID,
    Cli,
    CreateRequest,
    Endpoint,
    FakeServer,
    StreamMessage,
    StreamRequest,
    finished,
    stdout,
    until,
)
from watch_messages import WatchMessage, WatchRequest, changed

YEAR_SECONDS = 365 * 86_400


def add_queued(server: FakeServer, position: int, job_id: str = JOB_ID, **fields: object) -> job_pb2.Job:
    """Add a job that waits in the queue."""
    job = server.add(
        job_id,
        status=job_pb2.JOB_STATUS_QUEUED,
        queue_position=position,
        queue_reason=f"{position} things are missing",
        **fields,
    )
    job.ClearField("exit_code")
    job.ClearField("termination")
    job.create_time.GetCurrentTime()
    return job


def start(job: job_pb2.Job) -> None:
    """Let a queued job run."""
    job.status = job_pb2.JOB_STATUS_RUNNING
    job.queue_position = 0
    job.queue_reason = ""
    job.start_time.GetCurrentTime()


async def test_the_queue_is_shown_by_position(cli: Cli, server: FakeServer) -> None:
    ids = [f"0199f3a0-0000-7000-8000-00000000000{number}" for number in range(3)]
    for job_id, position in zip(ids, (3, 1, 2), strict=True):
        add_queued(server, position, job_id, owner="CN=ann", priority=-position)
    completed = await cli("queue")
    header, *rows = completed.text.splitlines()
    assert header.split() == ["POSITION", "ID", "OWNER", "PRIORITY", "WAITING", "REASON", "COMMAND"]
    assert [row.split()[:4] for row in rows] == [
        ["1", ids[1], "CN=ann", "-1"],
        ["2", ids[2], "CN=ann", "-2"],
        ["3", ids[0], "CN=ann", "-3"],
    ]
    assert "1 things are missing" in rows[0]
    assert rows[0].endswith("true")
    assert [list(request.statuses) for request in server.listed] == [[job_pb2.JOB_STATUS_QUEUED]]


async def test_the_queue_has_the_formats_of_list(cli: Cli, server: FakeServer) -> None:
    ids = [f"0199f3a0-0000-7000-8000-00000000000{number}" for number in range(2)]
    for job_id, position in zip(ids, (2, 1), strict=True):
        add_queued(server, position, job_id)
    assert [job["id"] for job in json.loads((await cli("queue", "-o", "json")).text)] == ids[::-1]
    assert (await cli("queue", "-q", "-n", "1")).text.split() == [ids[1]]


@pytest.mark.parametrize(
    ("options", "seconds", "priority"),
    [
        ((), None, 0),
        (("--queue",), YEAR_SECONDS, 0),
        (("--queue-timeout", "5m", "--priority=-3"), 300, -3),
        (("--queue", "--queue-timeout=90", "--priority", "100"), 90, 100),
    ],
)
async def test_options_of_create(
    cli: Cli, server: FakeServer, options: tuple[str, ...], seconds: int | None, priority: int
) -> None:
    assert (await cli("create", *options, "true")).code == 0
    [request] = server.created
    assert request.HasField("queue_timeout") == (seconds is not None)
    assert request.queue_timeout.seconds == (seconds or 0)
    assert request.priority == priority


async def test_get_shows_the_position_and_the_reason(cli: Cli, server: FakeServer) -> None:
    job = add_queued(server, 7, priority=5)
    job.queue_timeout.FromSeconds(3_600)
    lines = dict(line.split("  ", 1) for line in (await cli("get", JOB_ID)).text.splitlines() if line)
    shown = {name: text.strip() for name, text in lines.items()}
    assert shown["Status"] == "QUEUED"
    assert (shown["Position"], shown["Waits because"]) == ("7", "7 things are missing")
    assert (shown["Priority"], shown["Queue timeout"]) == ("5", "1h")


async def test_stats_of_a_queued_job_have_its_position(cli: Cli, server: FakeServer) -> None:
    add_queued(server, 7)
    assert (await cli("stats", JOB_ID)).text.strip() == (
        f"{JOB_ID}  QUEUED  position 7 in the queue: 7 things are missing"
    )


async def test_run_reports_the_position_until_the_job_starts(cli: Cli, server: FakeServer) -> None:
    running = asyncio.Event()

    async def creating(_: CreateRequest) -> job_pb2.Job:
        return add_queued(server, 2)

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        await running.wait()
        yield stdout(b"output", 0)
        await asyncio.sleep(3)
        yield StreamMessage(result=server.add(), offset=6)

    server.creating, server.streaming = creating, streaming
    process = await cli.start("run", "--queue", "true")
    await until(lambda: len(server.streamed) == 1)
    server.jobs[JOB_ID].queue_position = 1
    await asyncio.sleep(2)
    start(server.jobs[JOB_ID])
    running.set()
    completed = await finished(process)
    assert (completed.code, completed.stdout) == (0, b"output")
    first, second, last = completed.stderr.splitlines()
    assert first == "jobworker: position 2 in the queue: 2 things are missing"
    assert second == "jobworker: position 1 in the queue: 2 things are missing"
    assert last.startswith("jobworker: started after ")


async def test_run_says_nothing_of_the_queue_if_the_job_starts_at_once(cli: Cli, server: FakeServer) -> None:
    async def creating(_: CreateRequest) -> job_pb2.Job:
        job = server.add()
        job.start_time.GetCurrentTime()
        return job

    server.creating = creating
    completed = await cli("run", "--queue", "true")
    assert (completed.code, completed.stderr) == (0, "")


async def test_run_follows_a_job_of_a_gateway_from_the_queue_to_its_node(
    cli: Cli, server: FakeServer
) -> None:
    ends = asyncio.Event()

    async def creating(_: CreateRequest) -> job_pb2.Job:
        return add_queued(server, 1)

    async def watching(_: WatchRequest) -> AsyncIterator[WatchMessage]:
        job = server.jobs[JOB_ID]
        yield changed(job, 1)
        job.status = job_pb2.JOB_STATUS_INITIALIZING
        yield changed(job, 2)
        job.applied_limits.add(limit=job_pb2.LIMIT_MAX_CPU, reason="the node has no CPU controller")
        start(job)
        yield changed(job, 3)
        await ends.wait()

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        await ends.wait()
        yield StreamMessage(result=server.add(), offset=0)

    server.creating, server.watching, server.streaming = creating, watching, streaming
    process = await cli.start("run", "true")
    assert process.stderr
    message = f"jobworker: not in force: max_cpu; for details: jobworker get {JOB_ID}\n".encode()
    assert await process.stderr.readuntil(message)
    ends.set()
    assert (await finished(process)).code == 0


async def test_run_reports_missing_limits_of_a_job_that_ends_before_its_start_is_known(
    cli: Cli, server: FakeServer
) -> None:
    async def creating(_: CreateRequest) -> job_pb2.Job:
        return add_queued(server, 1)

    async def watching(_: WatchRequest) -> AsyncIterator[WatchMessage]:
        yield changed(server.jobs[JOB_ID], 1)
        await asyncio.Event().wait()

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        job = server.add()
        job.applied_limits.add(limit=job_pb2.LIMIT_MAX_CPU, reason="the node has no CPU controller")
        yield StreamMessage(result=job, offset=0)

    server.creating, server.watching, server.streaming = creating, watching, streaming
    completed = await cli("run", "true")
    message = f"jobworker: not in force: max_cpu; for details: jobworker get {JOB_ID}\n"
    assert (completed.code, completed.stderr) == (0, message)


@pytest.mark.parametrize("patience", [0, 3_600])
async def test_a_short_wait_is_not_reported(
    endpoint: Endpoint,
    certs: Path,
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    patience: int,
) -> None:
    monkeypatch.setattr(queue, "PATIENCE", patience)
    job = add_queued(server, 0)

    async def watching(_: WatchRequest) -> AsyncIterator[WatchMessage]:
        yield changed(job, 1)
        start(job)
        yield changed(job, 2)

    server.watching = watching
    async with Client.from_directory(certs, server=f"localhost:{endpoint.port}") as client:
        started = await queue.report_position(client, job)
    assert started.status == job_pb2.JOB_STATUS_RUNNING
    printed = [line.partition(" after ")[0] for line in capsys.readouterr().err.splitlines()]
    reported = ["jobworker: in the queue: 0 things are missing", "jobworker: started"]
    assert printed == ([] if patience else reported)


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (job_pb2.JOB_STATUS_FAILED, job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT, 124),
        (job_pb2.JOB_STATUS_FAILED, job_pb2.TERMINATION_REASON_NOT_STARTED, 125),
        (job_pb2.JOB_STATUS_STOPPED, job_pb2.TERMINATION_REASON_STOPPED, 125),
    ],
)
async def test_a_job_that_never_ran_is_no_success(
    cli: Cli,
    server: FakeServer,
    status: job_pb2.JobStatus.ValueType,
    reason: job_pb2.TerminationReason.ValueType,
    code: int,
) -> None:
    job = server.add(status=status)
    job.ClearField("exit_code")
    job.termination.reason = reason
    job.termination.message = "the reason"
    completed = await cli("stream", JOB_ID)
    assert (completed.code, completed.stderr) == (code, "jobworker: the reason\n")
    assert (await cli("wait", "--preserve-status", JOB_ID)).code == 125
