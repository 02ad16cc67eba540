"""`jobworker stream`: the job's bytes, all of them, once, over any number of connections."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import (
    JOB_ID,
    Cli,
    CreateRequest,
    FakeServer,
    Listening,
    Refusal,
    StreamMessage,
    StreamRequest,
    end_by_signal,
    finished,
    stderr,
    stdout,
    until,
)

BYTES = bytes(range(256)) * 4_096
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def result(job: job_pb2.Job, offset: int = 0) -> StreamMessage:
    """The last message."""
    return StreamMessage(result=job, offset=offset)


async def test_stdout_and_stderr_are_the_jobs_bytes_and_nothing_else(cli: Cli, server: FakeServer) -> None:
    job = server.add()

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(b"\xff\x00one", 0)
        yield stderr(b"two\n", 5)
        yield stdout(b"three", 9)
        yield result(job, 14)

    server.streaming = streaming
    completed = await cli("stream", JOB_ID)
    assert completed.code == 0
    assert completed.stdout == b"\xff\x00onethree"
    assert completed.stderr == "two\n"
    [request] = server.streamed
    assert (request.offset, request.follow, request.result_only) == (0, True, False)


async def test_output_is_there_as_soon_as_it_is_written(cli: Cli, server: FakeServer) -> None:
    job, seen = server.add(), asyncio.Event()

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(b"first\n", 0)
        await seen.wait()
        yield result(job, 6)

    server.streaming = streaming
    process = await cli.start("stream", JOB_ID)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"first\n"
    seen.set()
    assert (await finished(process)).code == 0


async def test_offset_and_no_follow_go_to_the_server(cli: Cli, server: FakeServer) -> None:
    server.add(status=job_pb2.JOB_STATUS_RUNNING)
    server.log = b"0123456789"
    completed = await cli("stream", "--offset", "4", "--no-follow", JOB_ID)
    assert completed.code == 0
    assert completed.stdout == b"456789"
    assert server.streamed[0].HasField("follow")
    assert not server.streamed[0].follow


@pytest.mark.parametrize("cut", [0, 1, 100_000, len(BYTES)])
async def test_a_stream_that_breaks_goes_on_without_a_byte_lost_or_doubled(
    cli: Cli, server: FakeServer, cut: int
) -> None:
    job = server.add(exit_code=7, status=job_pb2.JOB_STATUS_FAILED)

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        end = cut if len(server.streamed) == 1 else len(BYTES)
        for start in range(request.offset, end, 65_536):
            yield stdout(BYTES[start : min(start + 65_536, end)], start)
        if len(server.streamed) < 3:
            raise Refusal(UNAVAILABLE, "the server is restarting; try again")
        yield result(job, len(BYTES))

    server.streaming = streaming
    completed = await cli("stream", JOB_ID)
    assert completed.code == 7
    assert completed.stdout == BYTES
    assert f"going on from byte {cut}" in completed.stderr
    assert [request.offset for request in server.streamed] == [0, cut, len(BYTES)]


async def test_a_server_that_is_started_anew_is_found_again(
    cli: Cli, server: FakeServer, listening: Listening
) -> None:
    job = server.add()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if len(server.streamed) == 1:
            yield stdout(b"before ", 0)
            await asyncio.Event().wait()
        yield stdout(b"after", request.offset)
        yield result(job)

    server.streaming = streaming
    process = await cli.start("stream", JOB_ID)
    assert process.stdout is not None
    begin = await process.stdout.readexactly(7)
    await listening.stop()
    assert process.stderr is not None
    told = await process.stderr.readline()
    await listening.start()
    completed = await finished(process)
    assert begin + completed.stdout == b"before after"
    assert b"going on from byte 7" in told
    assert completed.code == 0


async def test_a_reader_that_is_cut_off_for_being_slow_resumes_and_says_so_once(
    cli: Cli, server: FakeServer
) -> None:
    job = server.add()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if request.offset < 4:
            yield stdout(b"x", request.offset)
            raise Refusal(UNAVAILABLE, "the reader took nothing for 5 s", "READER_STALLED")
        yield result(job, 4)

    server.streaming = streaming
    completed = await cli("stream", JOB_ID)
    assert completed.stdout == b"xxxx"
    assert completed.stderr.count("the reader of this output is slow") == 1


async def test_a_refusal_is_not_retried(cli: Cli, server: FakeServer) -> None:
    server.refusals["GetJobsStream"] = [
        Refusal(grpc.StatusCode.OUT_OF_RANGE, "offset 9 is past the end", "OFFSET_OUT_OF_RANGE")
    ]
    completed = await cli("stream", "--offset=9", JOB_ID)
    assert completed.code == 125
    assert completed.stderr == "error: offset 9 is past the end (OFFSET_OUT_OF_RANGE)\n"
    assert len(server.streamed) == 1


@pytest.mark.parametrize("offset", [3, 7])
async def test_a_wrong_offset_ends_the_stream(cli: Cli, server: FakeServer, offset: int) -> None:
    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(b"12345", 0)
        yield stdout(b"678", offset)

    server.streaming = streaming
    completed = await cli("stream", JOB_ID)
    assert completed.code == 125
    assert completed.stdout == b"12345"
    assert f"the server sent output at offset {offset} instead of 5" in completed.stderr


async def test_a_range_that_is_gone_is_told_and_skipped(cli: Cli, server: FakeServer) -> None:
    job = server.add()

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        message = StreamMessage(start_offset=0)
        message.truncated.to_offset = 100
        message.truncated.reason = "the log is bounded"
        yield message
        yield stdout(b"rest", 100)
        yield result(job, 104)

    server.streaming = streaming
    completed = await cli("stream", JOB_ID)
    assert completed.stdout == b"rest"
    assert "100 bytes of output from byte 0 on: the log is bounded" in completed.stderr


@pytest.mark.parametrize(
    ("number", "reason", "code"),
    [
        (signal.SIGKILL, job_pb2.TERMINATION_REASON_OOM_KILLED, 137),
        (signal.SIGTERM, job_pb2.TERMINATION_REASON_STOPPED, 143),
        (signal.SIGSEGV, job_pb2.TERMINATION_REASON_SIGNALED, 139),
    ],
)
async def test_a_job_that_a_signal_ended_gives_128_and_its_number(
    cli: Cli,
    server: FakeServer,
    number: signal.Signals,
    reason: job_pb2.TerminationReason.ValueType,
    code: int,
) -> None:
    end_by_signal(server.add(), number, reason, "it ended like this")
    completed = await cli("stream", JOB_ID)
    assert completed.code == code
    assert completed.stderr == "jobworker: it ended like this\n"


async def test_a_lost_job_gives_125(cli: Cli, server: FakeServer) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_LOST)
    job.ClearField("exit_code")
    job.ClearField("termination")
    completed = await cli("stream", JOB_ID)
    assert completed.code == 125
    assert "what became of it is not known (JOB_LOST)" in completed.stderr


@pytest.mark.parametrize("verb", ["stream", "wait", "run"])
@pytest.mark.parametrize(("end", "code"), [(0, 0), (3, 3), (signal.SIGTERM, 143), (signal.SIGKILL, 137)])
async def test_a_timed_out_job_gives_124_or_its_own_code_as_timeout_does(
    cli: Cli, server: FakeServer, verb: str, end: int, code: int
) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_FAILED, exit_code=end)
    if isinstance(end, signal.Signals):
        end_by_signal(job, end, job_pb2.TERMINATION_REASON_TIMED_OUT, "late")
    job.termination.reason = job_pb2.TERMINATION_REASON_TIMED_OUT
    server.creating = ready(job)
    what = "true" if verb == "run" else JOB_ID
    assert (await cli(verb, what)).code == 124
    assert (await cli(verb, "--preserve-status", what)).code == code


def ready(job: job_pb2.Job) -> Callable[[CreateRequest], Awaitable[job_pb2.Job]]:
    """Returns an answer to CreateJob."""

    async def creating(_: CreateRequest) -> job_pb2.Job:
        return job

    return creating


def endless(server: FakeServer, first: bytes) -> None:
    """Makes streams that never end after their first message."""

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(first, 0)
        await asyncio.Event().wait()

    server.streaming = streaming


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_ctrl_c_ends_the_stream_and_not_the_job(
    cli: Cli, server: FakeServer, number: signal.Signals, code: int
) -> None:
    endless(server, b"begin")
    process = await cli.start("stream", JOB_ID)
    assert process.stdout is not None
    await process.stdout.readexactly(5)
    process.send_signal(number)
    completed = await finished(process)
    assert completed.code == code
    assert f"jobworker stream --offset 5 {JOB_ID}" in completed.stderr
    assert f"jobworker stop {JOB_ID}" in completed.stderr
    assert not server.stopped


async def test_ctrl_c_works_while_nobody_reads_our_stdout(cli: Cli, server: FakeServer) -> None:
    endless(server, BYTES)  # more than a pipe holds
    readable, writable = os.pipe()
    try:
        process = await cli.start("stream", JOB_ID, stdout=writable)
        await asyncio.to_thread(os.read, readable, 1)
        process.send_signal(signal.SIGINT)
        assert (await finished(process)).code == 130
    finally:
        os.close(readable)
        os.close(writable)


async def test_a_reader_that_leaves_ends_us_as_sigpipe_would(cli: Cli, server: FakeServer) -> None:
    left = asyncio.Event()

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(b"line\n", 0)
        await left.wait()
        for start in range(5, 5_000_005, 100_000):
            yield stdout(b"x" * 100_000, start)

    server.streaming = streaming
    readable, writable = os.pipe()
    process = await cli.start("stream", JOB_ID, stdout=writable)
    os.close(writable)
    assert await asyncio.to_thread(os.read, readable, 5) == b"line\n"
    os.close(readable)
    left.set()
    completed = await finished(process)
    assert completed.code == -signal.SIGPIPE
    assert completed.stderr == ""
    assert not server.stopped


async def test_a_full_disk_is_told(cli: Cli, server: FakeServer) -> None:
    server.add()
    server.log = BYTES
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        completed = await finished(await cli.start("stream", JOB_ID, stdout=full))
    finally:
        os.close(full)
    assert completed.code == 125
    assert "No space left on device" in completed.stderr
    assert "Traceback" not in completed.stderr


async def test_without_the_result_the_stream_is_taken_up_again(cli: Cli, server: FakeServer) -> None:
    job = server.add()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if request.offset == 0:
            yield stdout(b"abc", 0)
        else:
            yield result(job, 3)

    server.streaming = streaming
    completed = await cli("stream", JOB_ID)
    assert completed.code == 0
    assert completed.stdout == b"abc"
    await until(lambda: len(server.streamed) == 2)
