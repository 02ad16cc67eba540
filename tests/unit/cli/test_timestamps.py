"""Tests of `stream --timestamps`: each line gets one time, however the output is split."""

import asyncio
import os
import signal

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_output_pb2
from jobworker_cli.stream.timestamps import TimestampWriter
from jobworker_client import source_runs
from scripted_messages import mixed
from tests.unit.cli.conftest import (
    JOB_ID,
    RESTARTING,
    Cli,
    FakeServer,
    StreamMessage,
    StreamRequest,
    finished,
    play,
)

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT
STDERR = job_output_pb2.OUTPUT_SOURCE_STDERR
OUT, ERR = "out", "err"
SOURCES = {OUT: STDOUT, ERR: STDERR}


def output(name: str, data: bytes, second: int, offset: int = 0) -> StreamMessage:
    """Return output that the server read at some second."""
    return StreamMessage(
        payload=data,
        offset=offset,
        next_offset=offset + len(data),
        source=SOURCES[name],
        time=Timestamp(seconds=second, nanos=5_000),
    )


def at(second: int) -> bytes:
    """Return the timestamp before a line."""
    return b"1970-01-01T00:00:%02d.000005000Z " % second


async def with_timestamps(*messages: StreamMessage) -> dict[str, bytes]:
    """Return the bytes written to stdout and stderr."""
    written = {STDOUT: b"", STDERR: b""}

    async def write(message: StreamMessage) -> None:
        for source, data in source_runs(message):
            written[source] += data

    writer = TimestampWriter(write)
    for message in messages:
        await writer.write(message)
    return {name: written[source] for name, source in SOURCES.items()}


@pytest.mark.parametrize(
    ("payload", "lines"),
    [
        (b"a\n", [b"a\n"]),
        (b"a", [b"a"]),
        (b"a\nb", [b"a\n", b"b"]),
        (b"\n\n\n", [b"\n", b"\n", b"\n"]),
        (b"\r1%\r2%\n", [b"\r1%\r2%\n"]),
        (b"\x00\xff\n\x85\x0b\x0c\n", [b"\x00\xff\n", b"\x85\x0b\x0c\n"]),
    ],
)
async def test_each_line_has_a_timestamp_and_its_own_bytes(payload: bytes, lines: list[bytes]) -> None:
    assert await with_timestamps(output(OUT, payload, 7)) == {
        OUT: b"".join(at(7) + line for line in lines),
        ERR: b"",
    }


async def test_split_line_has_the_time_of_its_first_message() -> None:
    written = await with_timestamps(
        output(OUT, b"one\ntw", 1), output(OUT, b"o", 2), output(OUT, b"\nthree\n", 3)
    )
    assert written[OUT] == at(1) + b"one\n" + at(1) + b"two\n" + at(3) + b"three\n"


async def test_line_after_a_final_newline_has_the_time_of_the_next_message() -> None:
    written = await with_timestamps(output(OUT, b"one\n", 1), output(OUT, b"two\n", 2))
    assert written[OUT] == at(1) + b"one\n" + at(2) + b"two\n"


async def test_stdout_and_stderr_have_separate_lines() -> None:
    written = await with_timestamps(
        output(OUT, b"o", 1), output(ERR, b"e\n", 2), output(OUT, b"ut\n", 3), output(ERR, b"rr", 4)
    )
    assert written == {OUT: at(1) + b"out\n", ERR: at(2) + b"e\n" + at(4) + b"rr"}


async def test_mixed_message_has_one_time_per_line() -> None:
    message = StreamMessage(
        payload=b"o\ne\nout\nerr\n",
        next_offset=12,
        source=STDOUT,
        time=Timestamp(seconds=1, nanos=5_000),
        span_bytes=[4, 6, 2],
        span_offset_usec=[0, 2_000_000, 4_000_000],
        source_run_bytes=[2, 2, 4, 4],
    )
    assert await with_timestamps(message) == {
        OUT: at(1) + b"o\n" + at(3) + b"out\n",
        ERR: at(1) + b"e\n" + at(3) + b"err\n",
    }


async def test_mixed_message_is_written_to_both_streams(cli: Cli, server: FakeServer) -> None:
    play(server, [mixed(0)])
    completed = await cli("stream", JOB_ID)
    assert (completed.stdout, completed.stderr) == (b"out more", "err")


async def test_every_split_gives_the_same_lines() -> None:
    data = b"one\n\ntwo\nthree"
    whole = await with_timestamps(output(OUT, data, 1))
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            parts = [part for part in (data[:first], data[first:second], data[second:]) if part]
            assert await with_timestamps(*[output(OUT, part, 1) for part in parts]) == whole, parts


async def test_stream_resumes_within_a_line(cli: Cli, server: FakeServer) -> None:
    play(
        server,
        [output(OUT, b"one\ntw", 1), output(ERR, b"bad\n", 2, offset=6), RESTARTING],
        [output(OUT, b"o\nthree\n", 3, offset=10)],
    )
    completed = await cli("stream", "--timestamps", JOB_ID)
    assert completed.code == 0
    assert completed.stdout == at(1) + b"one\n" + at(1) + b"two\n" + at(3) + b"three\n"
    assert completed.stderr.encode().startswith(at(2) + b"bad\n")
    assert server.streamed[1] == StreamRequest(id=JOB_ID, offset=10, follow=True)


async def test_ctrl_c_repeats_a_partly_written_message(cli: Cli, server: FakeServer) -> None:
    play(server, [output(OUT, b"one\n", 1), output(OUT, b"two\n" * 100_000, 2, offset=4)])
    readable, writable = os.pipe()
    try:
        process = await cli.start("stream", "--timestamps", JOB_ID, stdout=writable)
        seen = b""
        while at(2) not in seen:
            seen += await asyncio.to_thread(os.read, readable, 100)
        process.send_signal(signal.SIGINT)
        completed = await finished(process)
    finally:
        os.close(readable)
        os.close(writable)
    assert completed.code == 130
    assert f"`jobworker stream --offset 4 {JOB_ID}`" in completed.stderr
