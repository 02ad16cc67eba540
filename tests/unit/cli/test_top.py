"""`jobworker top` and `jobworker stats`: what jobs use, on a terminal and elsewhere."""

import contextlib
import os
import pty
import signal
from collections.abc import Iterator

import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, FakeServer, until

OTHER_ID = JOB_ID[:-1] + "2"
MIB = 1 << 20


def work(job: job_pb2.Job) -> None:
    """Lets a job run a second: by half a core, reading 2 MiB in 4 operations."""
    job.usage.wall_usec += 1_000_000
    job.usage.cpu_user_usec += 500_000 if job.id == JOB_ID else 750_000
    job.usage.io_read_bytes += 2 * MIB
    job.usage.io_read_count += 4


@pytest.fixture
def running(server: FakeServer) -> FakeServer:
    """A server with two jobs that run, one of them under a memory limit that is in force."""
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
    server.jobs[JOB_ID].limits_applied.add(limit="max_memory", in_force=True)
    server.aging = work
    return server


class Terminal:
    """A terminal for a command, which writes to `theirs`, and what has been written so far."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self._shown = b""

    def shows(self, text: str) -> bool:
        """True if a text has been written."""
        with contextlib.suppress(BlockingIOError):
            self._shown += os.read(self._ours, 1 << 16)
        return text.encode() in self._shown

    def close(self) -> None:
        """Gives both ends back."""
        for end in (self._ours, self.theirs):
            os.close(end)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal."""
    each = Terminal()
    yield each
    each.close()


TOP = f"""\
ID                                    CPU    MEMORY            READ     WRITTEN  OPS  AGE    COMMAND
{OTHER_ID}  75.0%  3 MiB / no limit  2 MiB/s  0 B/s    4/s  1m 1s  true
{JOB_ID}  50.0%  3 MiB / 64 MiB    2 MiB/s  0 B/s    4/s  1m 1s  true
"""


async def test_without_a_terminal_there_is_one_table(cli: Cli, running: FakeServer) -> None:
    for options in ((), ("--once",)):
        running.jobs[JOB_ID].usage.wall_usec = running.jobs[OTHER_ID].usage.wall_usec = 59_000_000
        result = await cli("top", "--interval", "10ms", *options)
        assert (result.code, result.stderr) == (0, "")
        assert result.text == TOP
    assert all(request.live_usage for request in running.listed)
    assert all(list(request.statuses) == [job_pb2.JOB_STATUS_RUNNING] for request in running.listed)


async def test_without_jobs_there_is_a_head(cli: Cli, server: FakeServer) -> None:
    result = await cli("top", "--interval", "10ms")
    assert result.text == "ID  CPU  MEMORY  READ  WRITTEN  OPS  AGE  COMMAND\n"
    assert server.listed


@pytest.mark.usefixtures("running")
async def test_a_terminal_is_written_anew_until_ctrl_c(cli: Cli, terminal: Terminal) -> None:
    cli.env |= {"TERM": "xterm", "COLUMNS": "200", "LINES": "20"}
    process = await cli.start("top", "--interval", "10ms", stdout=terminal.theirs)
    await until(lambda: terminal.shows(f"{JOB_ID}  50.0%"))
    assert terminal.shows("\x1b[?1049h")  # its other screen
    process.send_signal(signal.SIGINT)
    await until(lambda: terminal.shows("\x1b[?1049l"))
    assert await process.wait() == 130


async def test_stats_on_a_terminal_leave_the_end_there(
    cli: Cli, running: FakeServer, terminal: Terminal
) -> None:
    def end(job: job_pb2.Job) -> None:
        work(job)
        if terminal.shows("50.0%"):
            job.status = job_pb2.JOB_STATUS_COMPLETED

    running.aging = end
    cli.env |= {"TERM": "xterm", "COLUMNS": "200", "LINES": "20"}
    process = await cli.start("stats", "-f", "--interval", "10ms", JOB_ID, stdout=terminal.theirs)
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
        work(job)
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


async def test_stats_of_a_job_that_has_ended_are_its_totals(cli: Cli, server: FakeServer) -> None:
    job = server.add()
    job.usage.wall_usec = 1_500_000
    job.termination.message = "exited with code 0"
    for options in ((), ("-f",)):
        result = await cli("stats", JOB_ID, *options)
        assert result.text.endswith(f"{JOB_ID}  COMPLETED  exited with code 0\n\nWall time  1.5s\n")


async def test_an_interval_is_more_than_nothing(cli: Cli, server: FakeServer) -> None:
    result = await cli("top", "--interval", "0")
    assert result.code == 2
    assert "an interval is more than 0" in result.stderr
    assert not server.listed
