"""Tests of `run` and `attach` with a terminal, against a scripted server."""

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator

import pytest

from jobworker.v1 import job_pb2
from local_terminal import LocalTerminal
from scripted_messages import STATUS_LOST
from tests.unit.cli.conftest import (
    JOB_ID,
    MODULE,
    RESTARTING,
    Cli,
    CreateRequest,
    FakeServer,
    StreamMessage,
    StreamRequest,
    stdout,
    until,
)
from tests.unit.cli.test_queue import add_queued, start


def terminal(cli: Cli, *args: str) -> LocalTerminal:
    return LocalTerminal([sys.executable, *MODULE, *args], cli.env)


def ends_at_once(request: StreamRequest) -> bool:
    """Tell whether a stream does not wait for the end of the job."""
    return request.HasField("follow") and not request.follow


@pytest.mark.parametrize(
    ("options", "first", "output"),
    [
        ((), 8, b""),
        (("--offset", "0"), 0, b"one\ntwo\n"),
        (("--tail", "1"), 4, b"two\n"),
        (("--tail", "0"), 8, b""),
        (("--offset", "2", "--tail", "2"), 2, b"e\ntwo\n"),
    ],
)
async def test_attach_can_show_earlier_output(
    cli: Cli, server: FakeServer, options: tuple[str, ...], first: int, output: bytes
) -> None:
    server.add(stdin=job_pb2.JOB_STDIN_NONE, log_size=8)
    log = b"one\ntwo\n"

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        begin = first
        if request.HasField("tail_lines"):
            begin = max(request.offset, (8, 4, 0)[request.tail_lines])
            yield StreamMessage(start_offset=begin, offset=begin, next_offset=begin)
        if log[begin:]:
            yield stdout(log[begin:], begin)
        yield StreamMessage(result=server.jobs[JOB_ID], offset=len(log), next_offset=len(log))

    server.streaming = streaming
    completed = await cli("attach", *options, JOB_ID)
    assert (completed.code, completed.stdout) == (0, output), completed.stderr
    assert all(ends_at_once(request) for request in server.streamed)
    [attached] = server.attached
    assert attached.HasField("tail_bytes") == (not options)
    assert attached.offset == (first if options else 0)


@pytest.mark.parametrize(
    ("options", "first", "modes"),
    [
        ((), 21, b"\x1b[?1049h\x1b[?1h"),
        (("--offset", "8"), 8, b"\x1b[?1049h"),
        (("--offset", "0"), 0, b""),
    ],
)
async def test_attach_sets_the_modes_of_the_output_before(
    cli: Cli, server: FakeServer, options: tuple[str, ...], first: int, modes: bytes
) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_RUNNING)
    job.terminal.columns = 100
    server.log = b"\x1b[?1049htext\x1b[?1hmore"
    with terminal(cli, "attach", *options, JOB_ID) as local:
        await until(lambda: len(server.attached) == 1)
        assert (server.attached[0].offset, server.attached[0].redraw) == (first, True)
        assert not server.attached[0].HasField("tail_bytes")
        assert all(ends_at_once(request) for request in server.streamed)
        local.type(b"~.")
        before = await asyncio.to_thread(local.shows, b"detached from job")
        assert before.startswith(modes)
        assert before.count(b"h") == modes.count(b"h") == before.count(b"l")
        assert local.ended() == 0


@pytest.mark.parametrize(
    ("options", "stdin", "terminals"),
    [
        ("-d", job_pb2.JOB_STDIN_UNSPECIFIED, 0),
        ("-id", job_pb2.JOB_STDIN_OPEN, 0),
        ("-td", job_pb2.JOB_STDIN_UNSPECIFIED, 1),
        ("-itd", job_pb2.JOB_STDIN_UNSPECIFIED, 1),
    ],
)
async def test_a_detached_job_can_have_input(
    cli: Cli, server: FakeServer, options: str, stdin: job_pb2.JobStdin.ValueType, terminals: int
) -> None:
    completed = await cli("run", options, "bash")
    assert (completed.code, completed.text) == (0, f"{JOB_ID}\n"), completed.stderr
    [request] = server.created
    assert (request.stdin, int(request.HasField("terminal"))) == (stdin, terminals)


async def test_messages_in_raw_mode_begin_at_the_start_of_a_line(cli: Cli, server: FakeServer) -> None:
    with terminal(cli, "run", "-it", "bash") as local:
        await until(lambda: len(server.attached) == 1)
        assert local.is_raw
        local.type(b"~?~?~.")
        before = await asyncio.to_thread(local.shows, b"detached from job")
        lines = before.split(b"\r\n")
        assert not [line for line in lines if b"\n" in line or b"\\n" in line]
        assert lines.count(b"  ~.   detach; the job keeps running") == 2
        assert local.ended() == 0
        assert not server.stopped


async def test_ctrl_c_removes_a_job_from_the_queue(cli: Cli, server: FakeServer) -> None:
    async def creating(_: CreateRequest) -> job_pb2.Job:
        return add_queued(server, 2)

    server.creating = creating
    with terminal(cli, "run", "-it", "--queue", "bash") as local:
        await asyncio.to_thread(local.shows, b"position 2 in the queue")
        assert not local.is_raw
        local.type(b"\x03")
        await until(lambda: len(server.stopped) == 1)


async def test_a_queued_job_gets_the_terminal_when_it_starts(cli: Cli, server: FakeServer) -> None:
    async def creating(_: CreateRequest) -> job_pb2.Job:
        return add_queued(server, 2)

    server.creating = creating
    with terminal(cli, "run", "-it", "--queue", "bash") as local:
        await asyncio.to_thread(local.shows, b"position 2 in the queue")
        start(server.jobs[JOB_ID])
        await asyncio.to_thread(local.shows, b"started after")
        await until(lambda: len(server.attached) == 1)
        local.type(b"~.")
        await asyncio.to_thread(local.shows, b"detached from job")
        assert local.ended() == 0


@pytest.mark.parametrize("keys", [b"abc\r", b"x" * 300_000 + b"\r"], ids=["typed", "pasted"])
async def test_keys_before_a_detach_reach_the_job(cli: Cli, server: FakeServer, keys: bytes) -> None:
    with terminal(cli, "run", "-it", "bash") as local:
        await until(lambda: len(server.attached) == 1)
        await asyncio.to_thread(local.type, keys + b"~.")
        before = await asyncio.to_thread(local.shows, b"detached from job")
        assert b"did not reach" not in before
        assert local.ended() == 0
    assert server.input == keys


async def test_keys_before_a_suspension_reach_the_job(cli: Cli, server: FakeServer) -> None:
    command = shlex.join([sys.executable, *MODULE, "run", "-it", "bash"])
    script = f"{command}; echo suspended; read line; fg"
    with LocalTerminal(["bash", "--norc", "-ic", script], cli.env) as local:
        await until(lambda: len(server.attached) == 1)
        local.type(b"abc\r~\x1a")
        await asyncio.to_thread(local.shows, b"suspended\r\n")
        assert server.input == b"abc\r"
        local.type(b"\n")
        await until(lambda: any(each.resize.redraw for each in server.controls))
        local.type(b"~.")
        await asyncio.to_thread(local.shows, b"detached from job")
        local.process.wait(30)


async def test_the_user_can_detach_while_the_server_is_away(cli: Cli, server: FakeServer) -> None:
    with terminal(cli, "run", "-it", "bash") as local:
        await until(lambda: len(server.attached) == 1)
        server.refusals["AttachJob"] = [RESTARTING] * 1_000
        server.breaking, server.breaks = STATUS_LOST, [0]
        local.type(b"-")
        await asyncio.to_thread(local.shows, b"; resuming at byte 0")
        for key in (b"a", b"b", b"c", b"d", b"\r", b"~", b"."):
            local.type(key)
            await asyncio.sleep(0.05)
        await asyncio.to_thread(local.shows, b"the last keys that you typed did not reach the job\r\n")
        await asyncio.to_thread(local.shows, b"detached from job")
        assert local.ended() == 0


@pytest.mark.parametrize("shell", [(), ("sh", "-c", 'trap : HUP; "$@"', "sh")])
async def test_a_closed_window_stops_the_job(cli: Cli, server: FakeServer, shell: tuple[str, ...]) -> None:
    with LocalTerminal([*shell, sys.executable, *MODULE, "run", "-it", "bash"], cli.env) as local:
        await until(lambda: len(server.attached) == 1)
        local.hang_up()
        await until(lambda: len(server.stopped) > 0)
