"""Tests of `jobworker list --watch` on a terminal."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, FakeServer, Refusal, finished

LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"


@dataclass
class Terminal:
    """A pseudo-terminal of 10 lines, and the text written to it."""

    test_end: int
    command_end: int
    text: str = field(default="")

    async def shows(self, text: str) -> None:
        """Wait until a text has been written."""
        async with asyncio.timeout(30):
            while text not in self.text:
                self.text += (await asyncio.to_thread(os.read, self.test_end, 65_536)).decode()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Yield a terminal, and close it."""
    test_end, command_end = pty.openpty()
    fcntl.ioctl(command_end, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 200, 0, 0))
    yield Terminal(test_end, command_end)
    os.close(test_end)
    os.close(command_end)


WATCH = ("list", "--watch", "--interval", "20ms")


async def test_table_is_refreshed_and_the_screen_restored(
    cli: Cli, server: FakeServer, terminal: Terminal
) -> None:
    cli.env["NO_COLOR"] = "1"
    job = server.add(status=job_pb2.JOB_STATUS_RUNNING)
    process = await cli.start(*WATCH, stdout=terminal.command_end)
    await terminal.shows(f"{JOB_ID}  RUNNING")
    job.status = job_pb2.JOB_STATUS_LOST
    await terminal.shows(f"{JOB_ID}  LOST")
    assert server.listed == []
    process.send_signal(signal.SIGINT)
    await terminal.shows(LEAVE)
    result = await finished(process)
    assert (result.code, result.stderr) == (130, "")
    assert terminal.text.endswith(LEAVE)


async def test_page_size_is_the_height_of_the_terminal(
    cli: Cli, server: FakeServer, terminal: Terminal
) -> None:
    for number in range(30):
        server.add(f"0199f3a0-0000-7000-8000-{number:012}")
    await cli.start(*WATCH, stdout=terminal.command_end)
    await terminal.shows("000000000022")
    assert server.watched[0].max_final_jobs == 8
    assert server.listed == []
    assert "000000000021" not in terminal.text


async def test_unavailable_server_is_reported_and_retried(
    cli: Cli, server: FakeServer, terminal: Terminal
) -> None:
    ending = Refusal(grpc.StatusCode.UNAVAILABLE, "ending", "SHUTTING_DOWN")
    server.refusals["WatchJobs"] = [ending] * 3
    server.add()
    await cli.start(*WATCH, stdout=terminal.command_end)
    await terminal.shows("ending; retrying")
    await terminal.shows(JOB_ID)


async def test_refusal_ends_the_command_and_restores_the_screen(
    cli: Cli, server: FakeServer, terminal: Terminal
) -> None:
    server.refusals["WatchJobs"] = [Refusal(grpc.StatusCode.PERMISSION_DENIED, "no", "ROLE_REQUIRED")]
    process = await cli.start(*WATCH, stdout=terminal.command_end)
    await terminal.shows(LEAVE)
    result = await finished(process)
    assert result.code == 1
    assert result.stderr.startswith("error: no (ROLE_REQUIRED)")


@pytest.mark.parametrize("options", [[], ["-o", "json"], ["-q"]])
async def test_watch_needs_a_terminal_and_a_table(cli: Cli, options: list[str]) -> None:
    result = await cli("list", "--watch", *options)
    assert result.code == 2
    assert "only works with a table on a terminal" in result.stderr
