"""Tests of `jobworker stream` with --tail, --since, --offset and one source."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from jobworker.v1 import job_output_pb2
from tests.unit.cli.conftest import (
    JOB_ID,
    RESTARTING,
    Cli,
    FakeServer,
    StreamMessage,
    StreamRequest,
    finished,
    play,
    stderr,
    stdout,
    until,
)

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT
STDERR = job_output_pb2.OUTPUT_SOURCE_STDERR


def truncated(first: int, end: int) -> StreamMessage:
    """Return the message for a range that the server no longer has."""
    missing = job_output_pb2.TruncatedRange(from_offset=first, to_offset=end, reason="the log is bounded")
    return StreamMessage(offset=first, truncated=missing)


async def test_options_are_sent(cli: Cli, server: FakeServer) -> None:
    play(server, [])
    since = "2026-03-01T17:04:05.123456789Z"
    options = ["--offset=3", "--tail=5", f"--since={since}", "--stderr-only", "--no-follow"]
    assert (await cli("stream", *options, JOB_ID)).code == 0
    expected_request = StreamRequest(id=JOB_ID, offset=3, tail_lines=5, source=STDERR, follow=False)
    expected_request.since.FromJsonString(since)
    assert server.streamed == [expected_request]


async def test_tail_of_0_is_sent(cli: Cli, server: FakeServer) -> None:
    play(server, [], [])
    await cli("stream", "--tail", "0", JOB_ID)
    await cli("stream", JOB_ID)
    assert [request.HasField("tail_lines") for request in server.streamed] == [True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stdout-only", "--stderr-only"], "--stdout-only / --stderr-only: use only one of the two"),
        (["--since", "yesterday"], "'yesterday' is neither a duration such as 5m nor a time such as"),
        (["--since", "2026-02-30T00:00:00Z"], "'2026-02-30T00:00:00Z' is not a valid date and time"),
        (["--tail", "-1"], "Invalid value for '--tail'"),
        (["--tail", "all"], "Invalid value for '--tail'"),
    ],
)
async def test_invalid_option_is_reported(
    cli: Cli, server: FakeServer, options: list[str], message: str
) -> None:
    completed = await cli("stream", *options, JOB_ID)
    assert completed.code == 2
    assert message in " ".join(completed.stderr.split())
    assert not server.streamed


async def test_broken_tail_resumes_after_its_last_byte(cli: Cli, server: FakeServer) -> None:
    play(
        server,
        [stdout(b"line 8\n", 56), stderr(b"li", 63), RESTARTING],
        [stderr(b"ne 9\n", 65), RESTARTING],
        [],
    )
    completed = await cli("stream", "--tail=2", "--since=1h", JOB_ID)
    assert completed.code == 0
    assert completed.stdout == b"line 8\n"
    assert "resuming at byte 65\nne 9\n" in completed.stderr
    assert server.streamed[0].HasField("since")
    assert server.streamed[1:] == [
        StreamRequest(id=JOB_ID, offset=65, follow=True),
        StreamRequest(id=JOB_ID, offset=70, follow=True),
    ]


async def test_broken_stream_of_one_source_resumes_with_that_source(cli: Cli, server: FakeServer) -> None:
    play(server, [stdout(b"one ", 0), stdout(b"two ", 100), RESTARTING], [stdout(b"three", 300)])
    completed = await cli("stream", "--stdout-only", JOB_ID)
    assert completed.code == 0
    assert completed.stdout == b"one two three"
    assert server.streamed[1] == StreamRequest(id=JOB_ID, offset=104, source=STDOUT, follow=True)


async def test_stream_broken_before_its_first_byte_repeats_the_request(cli: Cli, server: FakeServer) -> None:
    play(server, [RESTARTING], [stdout(b"end", 500)])
    completed = await cli("stream", "--tail=1", "--since=5m", "--offset=7", JOB_ID)
    assert completed.code == 0
    assert completed.stdout == b"end"
    assert "; retrying\n" in completed.stderr
    first, second = server.streamed
    assert first == second
    assert (first.offset, first.tail_lines) == (7, 1)


@pytest.mark.parametrize(
    ("options", "messages", "offset", "expected"),
    [
        (["--tail=1"], [stdout(b"12345", 50), stdout(b"6", 56)], 56, 55),
        (["--since=1h"], [stdout(b"12345", 50), stdout(b"6", 54)], 54, 55),
        (["--tail=1", "--offset=9"], [stdout(b"6", 8)], 8, 9),
        (["--stdout-only"], [stdout(b"12345", 50), stdout(b"6", 54)], 54, 55),
        (["--stdout-only"], [truncated(0, 50), stdout(b"6", 49)], 49, 50),
        (["--tail=1"], [truncated(0, 50), stdout(b"6", 51)], 51, 50),
        ([], [truncated(10, 50)], 10, 0),
    ],
)
async def test_unexpected_offset_ends_the_stream(
    cli: Cli,
    server: FakeServer,
    options: list[str],
    messages: list[StreamMessage],
    offset: int,
    expected: int,
) -> None:
    play(server, [*messages])
    completed = await cli("stream", *options, JOB_ID)
    assert completed.code == 125
    assert b"6" not in completed.stdout
    assert f"the server sent output at offset {offset} instead of {expected}" in completed.stderr


@pytest.mark.parametrize("option", ["--tail=9", "--since=1h", "--stdout-only"])
async def test_truncated_range_is_reported_and_skipped(cli: Cli, server: FakeServer, option: str) -> None:
    play(server, [truncated(20, 120), RESTARTING], [stdout(b"rest", 120)])
    completed = await cli("stream", option, JOB_ID)
    assert completed.stdout == b"rest"
    assert completed.stderr.count("100 bytes of output from byte 20 on are missing: the log is bounded") == 1
    assert server.streamed[1].offset == 120
    assert not server.streamed[1].HasField("tail_lines")


@pytest.mark.parametrize(
    ("options", "first", "command"),
    [
        (["--tail", "0"], b"", f"`jobworker stream --tail 0 {JOB_ID}`"),
        (["--tail", "0", "--stdout-only"], b"x", f"`jobworker stream --offset 51 --stdout-only {JOB_ID}`"),
        (
            ["--since", "2026-03-01T17:04:05Z", "--stderr-only"],
            b"",
            f"`jobworker stream --since 2026-03-01T17:04:05Z --stderr-only {JOB_ID}`",
        ),
    ],
)
async def test_ctrl_c_prints_the_command_to_resume(
    cli: Cli, server: FakeServer, options: list[str], first: bytes, command: str
) -> None:
    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        if first:
            yield stdout(first, 50)
        await asyncio.Event().wait()

    server.streaming = streaming
    process = await cli.start("stream", *options, JOB_ID)
    assert process.stdout is not None
    await until(lambda: bool(server.streamed))
    await process.stdout.readexactly(len(first))
    process.send_signal(signal.SIGINT)
    completed = await finished(process)
    assert completed.code == 130
    assert command in completed.stderr
