"""Tests of `jobworker stream`: each byte is written once, over any number of connections."""

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
    Endpoint,
    FakeServer,
    Refusal,
    StreamMessage,
    StreamRequest,
    finished,
    stderr,
    stdout,
    until,
)

BYTES = bytes(range(256)) * 4_096
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def result(job: job_pb2.Job, offset: int = 0) -> StreamMessage:
    """Return the last message of a stream."""
    return StreamMessage(result=job, offset=offset)


async def test_stdout_and_stderr_are_copied_unchanged(cli: Cli, server: FakeServer) -> None:
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
    assert (request.offset, request.follow) == (0, True)


async def test_output_is_written_immediately(cli: Cli, server: FakeServer) -> None:
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


async def test_offset_and_no_follow_are_sent(cli: Cli, server: FakeServer) -> None:
    server.add(status=job_pb2.JOB_STATUS_RUNNING)
    server.log = b"0123456789"
    completed = await cli("stream", "--offset", "4", "--no-follow", JOB_ID)
    assert completed.code == 0
    assert completed.stdout == b"456789"
    assert server.streamed[0].HasField("follow")
    assert not server.streamed[0].follow


@pytest.mark.parametrize("cut", [0, 1, 100_000, len(BYTES)])
async def test_broken_stream_resumes_at_the_same_byte(cli: Cli, server: FakeServer, cut: int) -> None:
    job = server.add(exit_code=7, status=job_pb2.JOB_STATUS_FAILED)

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        end = cut if len(server.streamed) == 1 else len(BYTES)
        for start in range(request.offset, end, 65_536):
            yield stdout(BYTES[start : min(start + 65_536, end)], start)
        if len(server.streamed) < 3:
            raise Refusal(UNAVAILABLE, "the server is restarting; retry")
        yield result(job, len(BYTES))

    server.streaming = streaming
    completed = await cli("stream", JOB_ID)
    assert completed.code == 7
    assert completed.stdout == BYTES
    assert f"resuming at byte {cut}" in completed.stderr
    assert [request.offset for request in server.streamed] == [0, cut, len(BYTES)]


async def test_stream_reconnects_to_a_restarted_server(
    cli: Cli, server: FakeServer, endpoint: Endpoint
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
    await endpoint.stop()
    assert process.stderr is not None
    message = await process.stderr.readline()
    await endpoint.start()
    completed = await finished(process)
    assert begin + completed.stdout == b"before after"
    assert b"resuming at byte 7" in message
    assert completed.code == 0


async def test_stalled_stream_resumes_with_one_message(cli: Cli, server: FakeServer) -> None:
    job = server.add()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if request.offset < 4:
            yield stdout(b"x", request.offset)
            raise Refusal(UNAVAILABLE, "the client read nothing for 5 s", "READER_STALLED")
        yield result(job, 4)

    server.streaming = streaming
    completed = await cli("stream", JOB_ID)
    assert completed.stdout == b"xxxx"
    assert completed.stderr.count("the reader of this output is slow") == 1


async def test_refused_stream_is_not_retried(cli: Cli, server: FakeServer) -> None:
    server.refusals["GetJobsStream"] = [
        Refusal(grpc.StatusCode.OUT_OF_RANGE, "offset 9 is past the end", "OFFSET_OUT_OF_RANGE")
    ]
    completed = await cli("stream", "--offset=9", JOB_ID)
    assert completed.code == 125
    assert completed.stderr == "error: offset 9 is past the end (OFFSET_OUT_OF_RANGE)\n"
    assert len(server.streamed) == 1


@pytest.mark.parametrize("offset", [3, 7])
async def test_unexpected_offset_ends_the_stream(cli: Cli, server: FakeServer, offset: int) -> None:
    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(b"12345", 0)
        yield stdout(b"678", offset)

    server.streaming = streaming
    completed = await cli("stream", JOB_ID)
    assert completed.code == 125
    assert completed.stdout == b"12345"
    assert f"the server sent output at offset {offset} instead of 5" in completed.stderr


async def test_truncated_range_is_reported_and_skipped(cli: Cli, server: FakeServer) -> None:
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
    assert "100 bytes of output from byte 0 on are missing: the log is bounded" in completed.stderr


def endless(server: FakeServer, first: bytes) -> None:
    """Serve streams that stay open after their first message."""

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(first, 0)
        await asyncio.Event().wait()

    server.streaming = streaming


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_ctrl_c_ends_the_stream_but_not_the_job(
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


async def test_ctrl_c_works_while_stdout_is_blocked(cli: Cli, server: FakeServer) -> None:
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


async def test_closed_pipe_ends_the_command_by_sigpipe(cli: Cli, server: FakeServer) -> None:
    closed = asyncio.Event()

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(b"line\n", 0)
        await closed.wait()
        for start in range(5, 5_000_005, 100_000):
            yield stdout(b"x" * 100_000, start)

    server.streaming = streaming
    readable, writable = os.pipe()
    process = await cli.start("stream", JOB_ID, stdout=writable)
    os.close(writable)
    assert await asyncio.to_thread(os.read, readable, 5) == b"line\n"
    os.close(readable)
    closed.set()
    completed = await finished(process)
    assert completed.code == -signal.SIGPIPE
    assert completed.stderr == ""
    assert not server.stopped


async def test_full_disk_is_reported(cli: Cli, server: FakeServer) -> None:
    server.add()
    server.log = BYTES
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        completed = await finished(await cli.start("stream", JOB_ID, stdout=full))
    finally:
        os.close(full)
    assert completed.code == 125
    assert completed.stderr == "error: No space left on device\n"
    assert "Traceback" not in completed.stderr


async def test_stream_without_result_resumes(cli: Cli, server: FakeServer) -> None:
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
