"""Tests of `jobworker top` and `jobworker stats`, with and without a terminal."""

import contextlib
import os
import pty
import signal
from collections.abc import Iterator

import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, RESTARTING, Cli, FakeServer, until

OTHER_ID = JOB_ID[:-1] + "2"
MIB = 1 << 20


def advance(job: job_pb2.Job) -> None:
    """Add one second of usage: half a core, and 2 MiB read in 4 operations."""
    job.usage.wall_usec += 1_000_000
    job.usage.cpu_user_usec += 500_000 if job.id == JOB_ID else 750_000
    job.usage.io_read_bytes += 2 * MIB
    job.usage.io_read_count += 4


@pytest.fixture
def running(server: FakeServer) -> FakeServer:
    """Return a server with two running jobs; the memory limit of the first is in force."""
    for job_id in (JOB_ID, OTHER_ID):
        job = server.add(job_id, status=job_pb2.JOB_STATUS_RUNNING, max_memory=64)
        job.ClearField("exit_code")
        job.usage.CopyFrom(
            job_pb2.Usage(
                wall_usec=59_000_000,
                cpu_user_usec=0,
                cpu_system_usec=0,
                memory_current_bytes=3 * MIB,
                io_read_bytes=0,
                io_write_bytes=0,
                io_read_count=0,
                io_write_count=0,
            )
        )
    server.jobs[JOB_ID].applied_limits.add(limit=job_pb2.LIMIT_MAX_MEMORY, in_force=True)
    server.aging = advance
    return server


class Terminal:
    """A pseudo-terminal. The command writes to `command_end`."""

    def __init__(self) -> None:
        self._test_end, self.command_end = pty.openpty()
        os.set_blocking(self._test_end, False)
        self._output = b""

    def shows(self, text: str) -> bool:
        """Tell whether a text has been written."""
        with contextlib.suppress(BlockingIOError):
            self._output += os.read(self._test_end, 1 << 16)
        return text.encode() in self._output

    def close(self) -> None:
        """Close both ends."""
        for end in (self._test_end, self.command_end):
            os.close(end)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Yield a terminal, and close it."""
    terminal = Terminal()
    yield terminal
    terminal.close()


TOP = f"""\
ID                                    CPU    MEMORY            READ     WRITTEN  OPS  AGE    COMMAND
{OTHER_ID}  75.0%  3 MiB / no limit  2 MiB/s  0 B/s    4/s  1m 1s  true
{JOB_ID}  50.0%  3 MiB / 64 MiB    2 MiB/s  0 B/s    4/s  1m 1s  true
"""


async def test_top_without_a_terminal_prints_one_table(cli: Cli, running: FakeServer) -> None:
    for options in ((), ("--once",)):
        running.jobs[JOB_ID].usage.wall_usec = running.jobs[OTHER_ID].usage.wall_usec = 59_000_000
        result = await cli("top", "--interval", "10ms", *options)
        assert (result.code, result.stderr) == (0, "")
        assert result.text == TOP
    assert all(request.live_usage for request in running.listed)
    assert all(list(request.statuses) == [job_pb2.JOB_STATUS_RUNNING] for request in running.listed)


async def test_top_without_jobs_prints_the_header(cli: Cli, server: FakeServer) -> None:
    result = await cli("top", "--interval", "10ms")
    assert result.text == "ID  CPU  MEMORY  READ  WRITTEN  OPS  AGE  COMMAND\n"
    assert server.listed


@pytest.mark.usefixtures("running")
async def test_top_redraws_the_terminal_until_ctrl_c(cli: Cli, terminal: Terminal) -> None:
    cli.env |= {"TERM": "xterm", "COLUMNS": "200", "LINES": "20"}
    process = await cli.start("top", "--interval", "10ms", stdout=terminal.command_end)
    await until(lambda: terminal.shows(f"{JOB_ID}  50.0%"))
    assert terminal.shows("\x1b[?1049h")  # the alternate screen
    process.send_signal(signal.SIGINT)
    await until(lambda: terminal.shows("\x1b[?1049l"))
    assert await process.wait() == 130


async def test_top_keeps_the_table_while_the_server_is_away(
    cli: Cli, running: FakeServer, terminal: Terminal
) -> None:
    cli.env |= {"TERM": "xterm", "COLUMNS": "200", "LINES": "20"}
    process = await cli.start("top", "--interval", "10ms", stdout=terminal.command_end)
    await until(lambda: terminal.shows(f"{JOB_ID}  50.0%"))
    running.refusals["ListJobs"] = [RESTARTING] * 20
    await until(lambda: terminal.shows("the server is restarting; retrying"))
    running.refusals.clear()
    running.jobs[JOB_ID].command = "later"
    await until(lambda: terminal.shows("later"))
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 130


async def test_stats_on_a_terminal_print_the_result_at_the_end(
    cli: Cli, running: FakeServer, terminal: Terminal
) -> None:
    def end(job: job_pb2.Job) -> None:
        advance(job)
        if terminal.shows("50.0%"):
            job.status = job_pb2.JOB_STATUS_COMPLETED

    running.aging = end
    cli.env |= {"TERM": "xterm", "COLUMNS": "200", "LINES": "20"}
    process = await cli.start("stats", "-f", "--interval", "10ms", JOB_ID, stdout=terminal.command_end)
    await until(lambda: terminal.shows(f"{JOB_ID}  COMPLETED"))
    assert await process.wait() == 0


@pytest.mark.usefixtures("running")
async def test_stats_of_a_running_job(cli: Cli) -> None:
    result = await cli("stats", JOB_ID, "-i", "10ms")
    assert result.code == 0, result.stderr
    head, line, blank, *totals = result.text.splitlines()
    assert head.split() == ["CPU", "MEMORY", "READ", "WRITTEN", "OPS", "AGE"]
    assert line.split() == [
        "50.0%",
        "3",
        "MiB",
        "/",
        "64",
        "MiB",
        "2",
        "MiB/s",
        "0",
        "B/s",
        "4/s",
        "1m",
        "1s",
    ]
    assert blank == ""
    assert totals[0] == "Wall time    1m 1s"
    assert "Memory now   3 MiB" in totals


async def test_stats_follow_a_job_to_its_end(cli: Cli, running: FakeServer) -> None:
    def end(job: job_pb2.Job) -> None:
        advance(job)
        if job.usage.wall_usec >= 63_000_000:
            job.status = job_pb2.JOB_STATUS_COMPLETED
            job.termination.message = "exited with code 0"
            job.usage.ClearField("memory_current_bytes")

    running.aging = end
    result = await cli("stats", "-f", "-i", "10ms", JOB_ID)
    assert (result.code, result.stderr) == (0, "")
    head, *lines = result.text.partition("\n\n")[0].splitlines()
    assert head.startswith("CPU")
    assert [line.split()[0] for line in lines] == ["-", "50.0%", "50.0%", JOB_ID]
    assert result.text.splitlines()[-1].startswith("I/O written")


async def test_stats_of_an_ended_job_are_its_totals(cli: Cli, server: FakeServer) -> None:
    job = server.add()
    job.usage.wall_usec = 1_500_000
    job.termination.message = "exited with code 0"
    for options in ((), ("-f",)):
        result = await cli("stats", JOB_ID, *options)
        assert result.text.endswith(f"{JOB_ID}  COMPLETED  exited with code 0\n\nWall time  1.5s\n")


async def test_interval_of_0_is_refused(cli: Cli, server: FakeServer) -> None:
    result = await cli("top", "--interval", "0")
    assert result.code == 2
    assert "0 is too short; use an interval" in result.stderr
    assert not server.listed
