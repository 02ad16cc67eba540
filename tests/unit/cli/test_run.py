"""Tests of `jobworker run`: output, exit codes and signals."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import grpc
import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import (
    JOB_ID,
    Cli,
    CreateRequest,
    FakeServer,
    Refusal,
    StopRequest,
    StreamMessage,
    StreamRequest,
    end_by_signal,
    finished,
    stdout,
    until,
)


@pytest.fixture
def endless(server: FakeServer) -> FakeServer:
    """Return a server whose job writes `begin`, runs until it is stopped, and then writes `end`."""
    stopped = asyncio.Event()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(b"begin", 0)
        await stopped.wait()
        yield stdout(b"end", 5)
        yield StreamMessage(result=server.jobs[request.id], offset=8)

    async def stopping(request: StopRequest) -> job_pb2.Job:
        job = server.jobs[request.id]
        end_by_signal(job, signal.SIGTERM, job_pb2.TERMINATION_REASON_STOPPED, "stopped by CN=admin")
        stopped.set()
        return job

    server.streaming, server.stopping = streaming, stopping
    return server


async def test_output_and_exit_code_of_the_job(cli: Cli, server: FakeServer) -> None:
    async def create(_: CreateRequest) -> job_pb2.Job:
        return server.add(exit_code=3, status=job_pb2.JOB_STATUS_FAILED)

    server.creating, server.log = create, b"hello\n"
    completed = await cli("run", "--max-cpu=50", "sh", "-c", "echo hello; exit 3")
    assert (completed.code, completed.stdout, completed.stderr) == (3, b"hello\n", "")
    [request] = server.created
    assert (request.command, list(request.args), request.max_cpu) == ("sh", ["-c", "echo hello; exit 3"], 50)
    assert request.request_id


async def test_unenforced_limits_are_a_warning(cli: Cli, server: FakeServer) -> None:
    async def create(_: CreateRequest) -> job_pb2.Job:
        job = server.add()
        job.applied_limits.add(limit=job_pb2.LIMIT_MAX_CPU, in_force=True)
        job.applied_limits.add(limit=job_pb2.LIMIT_MAX_MEMORY, reason="no controller")
        return job

    server.creating = create
    completed = await cli("run", "true")
    assert completed.stderr == f"jobworker: not in force: max_memory; for details: jobworker get {JOB_ID}\n"


@pytest.mark.parametrize(("errno", "code"), [("ENOENT", 127), ("EACCES", 126), ("ENOEXEC", 126), ("", 126)])
async def test_command_that_cannot_start_has_the_exit_code_of_a_shell(
    cli: Cli, server: FakeServer, errno: str, code: int
) -> None:
    server.refusals["CreateJob"] = [
        Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"cannot run it ({errno})",
            "COMMAND_NOT_STARTED",
            {"errno": errno},
            {"command": "cannot run it"},
        )
    ]
    completed = await cli("run", "nope")
    assert completed.code == code
    assert completed.stderr.startswith(f"error: cannot run it ({errno}) (COMMAND_NOT_STARTED)\n")


async def test_missing_working_directory_is_not_a_missing_command(cli: Cli, server: FakeServer) -> None:
    server.refusals["CreateJob"] = [
        Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "/nowhere: No such file or directory (ENOENT)",
            "COMMAND_NOT_STARTED",
            {"errno": "ENOENT"},
            {"working_directory": "/nowhere: No such file or directory"},
        )
    ]
    assert (await cli("run", "-w", "/nowhere", "true")).code == 125


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(grpc.StatusCode.PERMISSION_DENIED, "no", "ROLE_REQUIRED"),
        Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "no", "TOO_MANY_JOBS"),
        Refusal(grpc.StatusCode.INVALID_ARGUMENT, "no", "INVALID_REQUEST"),
    ],
)
async def test_refused_job_exits_with_125(cli: Cli, server: FakeServer, refusal: Refusal) -> None:
    server.refusals["CreateJob"] = [refusal]
    assert (await cli("run", "true")).code == 125


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_first_signal_stops_the_job_and_shows_its_last_output(
    cli: Cli, endless: FakeServer, number: signal.Signals
) -> None:
    process = await cli.start("run", "sleep", "1000")
    assert process.stdout is not None
    assert await process.stdout.readexactly(5) == b"begin"
    process.send_signal(number)
    completed = await finished(process)
    assert completed.stdout == b"end"
    assert completed.code == 143
    assert [request.id for request in endless.stopped] == [JOB_ID]
    assert "stopped by CN=admin" in completed.stderr


async def test_second_signal_detaches_and_prints_the_job_id(cli: Cli, endless: FakeServer) -> None:
    never = asyncio.Event()

    async def stopping(_: StopRequest) -> job_pb2.Job:
        await never.wait()
        raise AssertionError("the event is never set")

    endless.stopping = stopping
    process = await cli.start("run", "sleep", "1000")
    assert process.stdout is not None
    await process.stdout.readexactly(5)
    process.send_signal(signal.SIGINT)
    await until(lambda: bool(endless.stopped))
    process.send_signal(signal.SIGINT)
    completed = await finished(process)
    assert completed.code == 130
    assert f"detached from job {JOB_ID}" in completed.stderr.splitlines()[-1]


async def test_signal_during_create_stops_the_job_afterwards(cli: Cli, endless: FakeServer) -> None:
    proceed = asyncio.Event()

    async def creating(_: CreateRequest) -> job_pb2.Job:
        await proceed.wait()
        return endless.add(status=job_pb2.JOB_STATUS_RUNNING)

    endless.creating = creating
    process = await cli.start("run", "sleep", "1000")
    await until(lambda: bool(endless.created))
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    await process.stderr.readline()
    proceed.set()
    assert (await finished(process)).code == 143
    assert endless.stopped


async def test_closed_pipe_stops_the_job(cli: Cli, server: FakeServer) -> None:
    closed = asyncio.Event()

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(b"y\n", 0)
        await closed.wait()
        for start in range(2, 2_000_002, 100_000):
            yield stdout(b"y" * 100_000, start)

    server.streaming = streaming
    readable, writable = os.pipe()
    process = await cli.start("run", "yes", stdout=writable)
    os.close(writable)
    await asyncio.to_thread(os.read, readable, 2)
    os.close(readable)
    closed.set()
    completed = await finished(process)
    assert completed.code == -signal.SIGPIPE
    assert completed.stderr == ""
    assert [request.id for request in server.stopped] == [JOB_ID]


async def test_stream_of_run_resumes(cli: Cli, server: FakeServer) -> None:
    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if request.offset == 0:
            yield stdout(b"one ", 0)
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "restarting")
        yield stdout(b"two", 4)
        yield StreamMessage(result=server.jobs[JOB_ID], offset=7)

    server.streaming = streaming
    completed = await cli("run", "true")
    assert (completed.code, completed.stdout) == (0, b"one two")
