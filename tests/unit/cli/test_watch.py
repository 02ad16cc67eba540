"""`jobworker list --watch`: a table that follows the jobs, on a terminal of its own."""

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
    """A terminal of 10 lines, and what was written to it."""

    ours: int
    theirs: int
    text: str = field(default="")

    async def shows(self, text: str) -> None:
        """Waits until a text has been written."""
        async with asyncio.timeout(30):
            while text not in self.text:
                self.text += (await asyncio.to_thread(os.read, self.ours, 65_536)).decode()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal; it is closed at the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 200, 0, 0))
    yield Terminal(ours, theirs)
    os.close(ours)
    os.close(theirs)


WATCH = ("list", "--watch", "--interval", "20ms")


async def test_the_table_follows_the_jobs_and_the_screen_is_given_back(
    cli: Cli, server: FakeServer, terminal: Terminal
) -> None:
    cli.env["NO_COLOR"] = "1"
    job = server.add(status=job_pb2.JOB_STATUS_RUNNING)
    process = await cli.start(*WATCH, stdout=terminal.theirs)
    await terminal.shows(f"{JOB_ID}  RUNNING")
    job.status = job_pb2.JOB_STATUS_LOST
    await terminal.shows(f"{JOB_ID}  LOST")
    process.send_signal(signal.SIGINT)
    await terminal.shows(LEAVE)
    result = await finished(process)
    assert (result.code, result.stderr) == (130, "")
    assert terminal.text.endswith(LEAVE)


async def test_no_more_is_asked_for_than_the_terminal_holds(
    cli: Cli, server: FakeServer, terminal: Terminal
) -> None:
    for number in range(30):
        server.add(f"0199f3a0-0000-7000-8000-{number:012}")
    await cli.start(*WATCH, stdout=terminal.theirs)
    await terminal.shows("000000000007")
    assert server.listed[0].page_size == 8
    assert "000000000008" not in terminal.text


async def test_a_server_that_is_away_is_told_and_asked_again(
    cli: Cli, server: FakeServer, terminal: Terminal
) -> None:
    server.refusals["ListJobs"] = [Refusal(grpc.StatusCode.UNAVAILABLE, "ending", "SHUTTING_DOWN")] * 5
    server.add()
    await cli.start(*WATCH, stdout=terminal.theirs)
    await terminal.shows("ending; trying again")
    await terminal.shows(JOB_ID)


async def test_a_refusal_ends_it_and_gives_the_screen_back(
    cli: Cli, server: FakeServer, terminal: Terminal
) -> None:
    server.refusals["ListJobs"] = [Refusal(grpc.StatusCode.PERMISSION_DENIED, "no", "ROLE_REQUIRED")]
    process = await cli.start(*WATCH, stdout=terminal.theirs)
    await terminal.shows(LEAVE)
    result = await finished(process)
    assert result.code == 1
    assert result.stderr.startswith("error: no (ROLE_REQUIRED)")


@pytest.mark.parametrize("options", [[], ["-o", "json"], ["-q"]])
async def test_without_a_terminal_or_a_table_there_is_nothing_to_watch(cli: Cli, options: list[str]) -> None:
    result = await cli("list", "--watch", *options)
    assert result.code == 2
    assert "it shows a table, on a terminal" in result.stderr
