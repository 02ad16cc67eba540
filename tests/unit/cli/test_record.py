"""Tests of `jobworker record` against the specification of asciicast v3."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from jobworker.v1 import job_output_pb2, job_pb2
from jobworker_cli.stream.asciicast import AsciicastWriter
from scripted_messages import mixed
from tests.unit.cli.conftest import JOB_ID, Cli, FakeServer, StreamMessage, StreamRequest, finished, play

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT
STDERR = job_output_pb2.OUTPUT_SOURCE_STDERR


def ended_job(**fields: Any) -> job_pb2.Job:
    """Return a job that ran from second 100 to second 110."""
    fields = {"exit_code": 0, **fields}
    return job_pb2.Job(
        id=JOB_ID, command="sh", start_time=Timestamp(seconds=100), end_time=Timestamp(seconds=110), **fields
    )


def terminal_job(**fields: Any) -> job_pb2.Job:
    """Return an ended job with a terminal."""
    return ended_job(terminal=job_pb2.JobTerminal(columns=132, rows=50, term="screen"), **fields)


def output(
    data: bytes, milliseconds: int, source: job_output_pb2.OutputSource.ValueType = STDOUT
) -> StreamMessage:
    """Return output at some time after the start of the job."""
    message = StreamMessage(payload=data, next_offset=len(data), source=source)
    message.time.FromMilliseconds(100_000 + milliseconds)
    return message


async def recording(job: job_pb2.Job, *messages: StreamMessage) -> list[Any]:
    """Return the header and the events."""
    written = b""

    async def write(message: StreamMessage) -> None:
        nonlocal written
        written += message.payload

    writer = AsciicastWriter(job, write)
    await writer.begin()
    for message in messages:
        await writer.write(message)
    await writer.end(job)
    return [json.loads(line) for line in written.splitlines()]


async def test_header_describes_the_job_and_its_terminal() -> None:
    [header, _] = await recording(terminal_job(args=["-c", "exit 0"]))
    assert header == {
        "version": 3,
        "term": {"cols": 132, "rows": 50, "type": "screen"},
        "timestamp": 100,
        "command": "sh -c 'exit 0'",
        "title": f"job {JOB_ID}",
    }


async def test_intervals_are_relative_to_the_previous_event() -> None:
    [_, *events] = await recording(terminal_job(exit_code=3), output(b"one\r\n", 250), output(b"two", 1_000))
    assert events == [[0.25, "o", "one\r\n"], [0.75, "o", "two"], [9.0, "x", "3"]]


async def test_rounding_does_not_add_up() -> None:
    messages = [output(b"x", 0) for _ in range(1_000)]
    for number, message in enumerate(messages):
        message.time.FromMicroseconds(100_000_000 + 1_400 * number)
    [_, *events] = await recording(terminal_job(), *messages)
    assert sum(interval for interval, *_ in events[:-1]) == pytest.approx(1.4 * 0.999, abs=0.001)
    assert sum(interval for interval, *_ in events) == pytest.approx(10)


async def test_a_clock_that_is_set_back_gives_no_negative_interval() -> None:
    job = terminal_job()
    job.end_time.seconds = 99
    [_, *events] = await recording(job, output(b"x", -50))
    assert [interval for interval, *_ in events] == [0, 0]


async def test_both_sources_are_shown_at_their_times() -> None:
    message = mixed(0)
    message.time.FromMilliseconds(100_500)
    [_, *events] = await recording(terminal_job(), message)
    assert events[:-1] == [[0.5, "o", "out"], [0, "o", "err"], [0, "o", " m"], [1, "o", "ore"]]


async def test_sizes_of_the_terminal_are_at_their_places() -> None:
    job = terminal_job()
    for columns, offset in ((90, 0), (91, 5), (92, 6), (93, 6), (94, 100)):
        job.terminal_resizes.add(columns=columns, rows=30, log_offset=offset)
    second = output("cdé".encode(), 20)
    second.offset, second.next_offset = 2, 6
    third = output(b"f", 30)
    third.offset, third.next_offset = 6, 7
    [_, *events] = await recording(job, output(b"ab", 10), second, third)
    assert [event[1:] for event in events[:-1]] == [
        ["r", "90x30"], ["o", "ab"],
        ["o", "cd"], ["r", "91x30"], ["o", "é"],
        ["r", "92x30"], ["r", "93x30"], ["o", "f"],
    ]  # fmt: skip
    assert [event[0] for event in events[:4]] == [0.01, 0, 0.01, 0]


async def test_the_sizes_of_a_running_job_are_current(cli: Cli, server: FakeServer) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_RUNNING)
    job.terminal.columns = 80

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield output(b"a", 0)
        job.terminal_resizes.add(columns=90, rows=30, log_offset=1)
        yield StreamMessage(payload=b"b", offset=1, next_offset=2, source=STDOUT)
        yield StreamMessage(result=job, offset=2)

    server.streaming = streaming
    completed = await cli("record", JOB_ID)
    events = [json.loads(line)[1:] for line in completed.stdout.splitlines()[1:]]
    assert events == [["o", "a"], ["r", "90x30"], ["o", "b"], ["x", "0"]]


async def test_known_sizes_are_not_requested_again(cli: Cli, server: FakeServer) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_RUNNING, log_size=2)
    job.terminal.columns = 80

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        # A size that a second request would return.
        job.terminal_resizes.add(columns=90, rows=30, log_offset=1)
        yield output(b"a", 0)
        yield StreamMessage(payload=b"b", offset=1, next_offset=2, source=STDOUT)
        yield StreamMessage(result=job, offset=2)

    server.streaming = streaming
    completed = await cli("record", JOB_ID)
    assert [json.loads(line)[1] for line in completed.stdout.splitlines()[1:]] == ["o", "o", "x"]


async def test_output_without_a_terminal_gets_carriage_returns() -> None:
    [header, *events] = await recording(ended_job(), output(b"a\nb\n", 0))
    assert header["term"] == {"cols": 80, "rows": 24, "type": "xterm-256color"}
    assert events[0] == [0, "o", "a\r\nb\r\n"]


async def test_a_signal_is_an_exit_status_of_a_shell() -> None:
    job = terminal_job()
    job.ClearField("exit_code")
    job.termination.signal = signal.SIGKILL
    assert (await recording(job))[1:] == [[10, "x", "137"]]


async def test_a_lost_job_has_no_exit_status() -> None:
    job = terminal_job(status=job_pb2.JOB_STATUS_LOST)
    job.ClearField("exit_code")
    assert (await recording(job))[1:] == []


@given(
    text=st.text(max_size=20),
    other=st.text(max_size=20),
    cuts=st.lists(st.integers(0, 80), max_size=8),
)
@settings(deadline=None)
async def test_characters_that_are_split_anywhere(text: str, other: str, cuts: list[int]) -> None:
    data, rest = text.encode(), other.encode()
    messages = []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 80], strict=True):
        messages += [output(part, 0) for part in [data[begin:end]] if part]
        messages += [output(part, 0, STDERR) for part in [rest[begin:end]] if part]
    [_, *events] = await recording(terminal_job(), *messages)
    shown = "".join(shown for _, code, shown in events if code == "o")
    assert sorted(shown) == sorted(text + other)
    if not other:
        assert shown == text


async def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    [_, *events] = await recording(terminal_job(), output(b"\xffx\xe2\x82", 0))
    assert [shown for _, code, shown in events if code == "o"] == ["\ufffdx", "\ufffd"]


async def test_record_to_a_file(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    play(server, [mixed(0)])
    file = tmp_path / "job.cast"
    completed = await cli("record", "--output", str(file), JOB_ID)
    assert (completed.code, completed.stdout, completed.stderr) == (0, b"", "")
    [header, *events] = [json.loads(line) for line in file.read_text().splitlines()]
    assert header["version"] == 3
    assert [shown for _, _, shown in events] == ["out", "err", " m", "ore", "0"]


async def test_an_unknown_job_leaves_the_file_as_it_is(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "job.cast"
    file.write_text("earlier")
    assert (await cli("record", "--output", str(file), JOB_ID)).code == 125
    assert file.read_text() == "earlier"


async def test_ctrl_c_keeps_the_recording_so_far(cli: Cli, server: FakeServer) -> None:
    server.add(status=job_pb2.JOB_STATUS_RUNNING)

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield output(b"begin", 0)
        await asyncio.Event().wait()

    server.streaming = streaming
    process = await cli.start("record", JOB_ID)
    assert process.stdout is not None
    await process.stdout.readline()
    assert json.loads(await process.stdout.readline())[1:] == ["o", "begin"]
    process.send_signal(signal.SIGINT)
    completed = await finished(process)
    assert (completed.code, completed.stdout) == (130, b"")
    assert f"because job {JOB_ID} continues" in completed.stderr
