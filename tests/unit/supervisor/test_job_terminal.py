"""Tests of jobs with a terminal, with real processes on a host without cgroups."""

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from job_context import NO_CGROUPS, commit_nothing, job_context, new_job, spare_setup
from msgspec.structs import replace

from jobworkerd.cgroup.group_scan import process_groups
from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.process_group import ProcessGroup
from jobworkerd.config import IsolationConfig
from jobworkerd.logs.format import data_file
from jobworkerd.model import Job, TerminationReason
from jobworkerd.supervisor import job_terminal
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_terminal import JobTerminal
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.outcome import StopRequest
from jobworkerd.terminal import Terminal, TerminalResize

NO_ISOLATION = IsolationConfig(
    run_as="server",
    mount_namespace=False,
    pid_namespace=False,
    ipc_namespace=False,
    uts_namespace=False,
    no_new_privileges=False,
)


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[JobContext]:
    hierarchy = Hierarchy(None, NO_CGROUPS)
    with job_context(tmp_path, hierarchy, spare_setup(), NO_ISOLATION) as made:
        yield made


async def start(
    context: JobContext, script: str, on_change: Callable[[str], None] = lambda _: None
) -> LiveJob:
    job = new_job("sh", "-c", script)
    job = replace(job, spec=replace(job.spec, terminal=Terminal(101, 33)))
    return await LiveJob.start(job, context, lambda _: None, on_change, commit_nothing)


async def output(tmp_path: Path, live: LiveJob) -> tuple[Job, bytes]:
    job = await asyncio.wait_for(live.end(), 20)
    live.release_state()
    return job, data_file(tmp_path / job.id).read_bytes()


@pytest.fixture(params=[True, False], ids=["splice", "copy"])
def can_splice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let splice(2) from a terminal fail, as Linux 5.10 does."""
    splice = os.splice

    def without_terminals(source: int, *args: Any, **options: Any) -> int:
        if os.isatty(source):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return splice(source, *args, **options)

    can_splice: bool = request.param
    if not can_splice:
        monkeypatch.setattr(os, "splice", without_terminals)
    return can_splice


@pytest.mark.usefixtures("can_splice")
async def test_all_output_reaches_the_log(context: JobContext, tmp_path: Path) -> None:
    live = await start(context, "stty size; seq 1 20000; echo err >&2")
    job, written = await output(tmp_path, live)
    lines = written.split(b"\r\n")
    assert lines == [b"33 101", *(b"%d" % each for each in range(1, 20_001)), b"err", b""]
    assert job.log_size == len(written)


async def start_late(context: JobContext, script: str) -> LiveJob:
    """Start a job whose output waits in its terminal until the end, as if the event loop were late."""
    live = await start(context, f"read line; {script}")
    terminal = live.stdin
    assert isinstance(terminal, JobTerminal)
    assert terminal._target is not None
    context.loop.remove_reader(terminal._target)
    await terminal.feed(terminal.attach("keys"), 0, b"\n")
    return live


@pytest.mark.usefixtures("can_splice")
async def test_the_rest_of_the_output_is_read_at_the_end(context: JobContext, tmp_path: Path) -> None:
    live = await start_late(context, "seq 1 500")
    _, written = await output(tmp_path, live)
    assert written.endswith(b"499\r\n500\r\n")


async def test_the_rest_of_the_output_is_read_when_the_host_has_memory_again(
    context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await start_late(context, "seq 1 500")
    splice, refusals = os.splice, [errno.ENOMEM] * 2

    def exhausted(*args: Any, **options: Any) -> int:
        if refusals:
            raise OSError(refusals.pop(), "no memory")
        return splice(*args, **options)

    monkeypatch.setattr(os, "splice", exhausted)
    _, written = await output(tmp_path, live)
    assert written.endswith(b"499\r\n500\r\n")


@pytest.mark.usefixtures("can_splice")
async def test_the_terminal_can_be_opened_again(context: JobContext, tmp_path: Path) -> None:
    live = await start(context, "exec <&- >&- 2>&-; sleep 0.3; echo again >/dev/tty; exec sleep 600")
    async with asyncio.timeout(10):
        while not live.log_size:
            await asyncio.sleep(0.01)
    live.stop(StopRequest(TerminationReason.STOPPED), 0)
    _, written = await output(tmp_path, live)
    assert written == b"again\r\n"


async def test_the_record_has_each_size_from_its_log_offset_on(context: JobContext, tmp_path: Path) -> None:
    changed: list[str] = []
    live = await start(context, "read line; echo $line; read line", changed.append)
    assert isinstance(live.stdin, JobTerminal)
    keys = live.stdin.attach("keys")
    live.stdin.resize(keys, (101, 33))
    assert not live.snapshot().terminal_resizes, "the size is that of the start"
    changed.clear()
    live.stdin.resize(keys, (90, 40))
    assert changed == [live.id]
    first = TerminalResize(90, 40, 0)
    assert live.last_resize == first
    await live.stdin.feed(keys, 0, b"word\n")
    async with asyncio.timeout(10):
        while live.log_size != len("word\r\nword\r\n"):
            await asyncio.sleep(0.01)
    live.stdin.resize(keys, (90, 41))
    await live.stdin.feed(keys, 5, b"\n")
    job, _ = await output(tmp_path, live)
    assert job.terminal_resizes == (first, TerminalResize(90, 41, 12))


@pytest.mark.parametrize("seconds", [0.5, 60.0])
async def test_a_redraw_changes_the_size_until_its_end_or_another_resize(
    context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(job_terminal, "_REDRAW_SECONDS", seconds)
    live = await start(context, "trap 'stty size' WINCH; echo up; while :; do sleep 0.01; done")
    assert isinstance(live.stdin, JobTerminal)
    keys = live.stdin.attach("keys")
    log = data_file(tmp_path / live.id)

    async def shows(text: bytes) -> None:
        async with asyncio.timeout(10):
            while not log.read_bytes().endswith(text):
                await asyncio.sleep(0.01)

    await shows(b"up\r\n")
    live.stdin.resize(keys, (101, 33), redraw=True)
    await shows(b"32 101\r\n")
    if seconds == 60:
        live.stdin.resize(keys, (101, 33))
    await shows(b"33 101\r\n")
    live.stdin.resize(keys, (101, 33), redraw=True)
    live.stop(StopRequest(TerminationReason.STOPPED), 0)
    job, _ = await output(tmp_path, live)
    assert not job.terminal_resizes


async def foreground_group(live: LiveJob) -> int:
    """Return the foreground group when it is not that of the main process."""
    terminal = live.stdin
    assert isinstance(terminal, JobTerminal)
    async with asyncio.timeout(20):
        while (group := terminal.foreground_group()) in {0, live.snapshot().pid}:
            await asyncio.sleep(0.005)
    return group


async def test_a_signal_reaches_the_foreground_group(context: JobContext, tmp_path: Path) -> None:
    live = await start(context, "exec bash -c 'set -m; sleep 1000; echo ended by $?'")
    await foreground_group(live)
    live.signal_foreground(signal.SIGTERM)
    _, data = await output(tmp_path, live)
    assert b"ended by 143" in data


async def test_a_signal_reaches_a_foreground_group_without_its_leader(
    context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await start(context, "exec bash -c 'set -m; true | sleep 1000; echo ended by $?'")
    async with asyncio.timeout(20):
        while (group := await foreground_group(live)) in (members := process_groups().get(group, [group])):
            await asyncio.sleep(0.005)
    monkeypatch.setattr(ProcessGroup, "pids", lambda _: members)  # as the cgroup of the job
    live.signal_foreground(signal.SIGTERM)
    _, data = await output(tmp_path, live)
    assert b"ended by 143" in data


async def test_a_signal_does_not_reach_a_group_that_has_reused_the_number(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await start(context, "sleep 1000")
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as other:  # noqa: ASYNC220
        with monkeypatch.context() as reuse:
            reuse.setattr(JobTerminal, "foreground_group", lambda _: other.pid)
            live.signal_foreground(signal.SIGKILL)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.1)
        other.kill()
    live.kill_process_group()
    await live.end()


async def test_a_repeated_end_of_file_is_typed_once(context: JobContext, tmp_path: Path) -> None:
    live = await start(context, "cat >/dev/null; read line && echo got $line")
    assert isinstance(live.stdin, JobTerminal)
    keys = live.stdin.attach("keys")
    for _ in range(2):
        await live.stdin.end(keys, 0)
    await live.stdin.feed(keys, 0, b"word\n")
    _, written = await output(tmp_path, live)
    assert written.endswith(b"got word\r\n")


@pytest.mark.parametrize("failing", ["open_terminal", "relay_to", "open_slave"])
async def test_a_failed_start_leaves_no_descriptor(
    context: JobContext, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(JobTerminal, failing, fail)
    before = terminals()
    with pytest.raises(OSError, match="Too many open files"):
        await start(context, "true")
    assert terminals() == before


def terminals() -> list[str]:
    """Return the terminals and spools that this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if "ptmx" in target or "/pts/" in target or "jobworkerd-input" in target:
            found.append(f"{entry.name} {target}")
    return sorted(found)
