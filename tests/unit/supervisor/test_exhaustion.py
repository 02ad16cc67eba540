"""An exhausted host at each step of a job's life: no resource leaks, and the next job works."""

import asyncio
import contextlib
import errno
import itertools
import os
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from host_resources import cgroups, children, close_garbage, descriptors
from job_context import NO_CGROUPS, commit_nothing, job_context, new_job, spare_setup
from msgspec.structs import replace
from own_children import OwnChildren

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.config import IsolationConfig
from jobworkerd.errors import CommandNotStarted
from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.logs.format import data_file
from jobworkerd.logs.store import NEXT
from jobworkerd.model import JobStatus, Stdin, TerminationReason
from jobworkerd.spawn import fork_client
from jobworkerd.spawn.spare import discard
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.outcome import StopRequest
from jobworkerd.terminal import Terminal
from tests.unit.supervisor.faults import Faults

Resources: TypeAlias = tuple[Counter[str], int, list[str], list[str], int]
FAULT_SECONDS, TIMEOUT_SECONDS = 0.03, 30


@dataclass
class Host:
    """The resources that jobs share, and the current descriptors, processes and files."""

    context: JobContext
    jobs_dir: Path
    faults: Faults
    old_children: set[str]
    ids: Iterator[str] = field(default_factory=lambda: (str(uuid.uuid4()) for _ in itertools.count()))

    async def start(self, *argv: str, **spec: Any) -> LiveJob:
        """Start a job."""
        job = new_job(*argv, job_id=next(self.ids))
        job = replace(job, spec=replace(job.spec, **spec))
        return await LiveJob.start(job, self.context, lambda _: None, lambda _: None, commit_nothing)

    def prefork(self) -> None:
        """Prepare spare processes and a log for the next jobs."""
        self.context.spare_pool.refill()
        self.context.logs.prepare()

    async def empty_pool(self) -> None:
        """Remove everything that is prepared, except the fork server."""
        while self.context.spare_pool.size:
            discard(await self.context.spare_pool.take(), self.context.parent)
        self.context.logs.close()

    async def close_fork_server(self) -> None:
        """Remove everything that is prepared, including the fork server."""
        self.context.spare_pool.close()
        self.context.logs.close()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while self.has_discarded():
                await asyncio.sleep(0.002)

    async def resources_after_refill(self) -> Resources:
        """Wait for all spare processes and the end of discarded ones, and return the current resources."""
        self.prefork()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while self.has_discarded() or len(self.processes()) < self.expected_processes:
                await asyncio.sleep(0.002)
        return self.resources()

    def has_discarded(self) -> bool:
        """Return whether a discarded process has not ended."""
        assert isinstance(self.context.parent, OwnChildren)
        return not self.context.parent.reap_discarded()

    def resources(self) -> Resources:
        """Return the current resources: descriptors, processes, cgroups, logs and free users."""
        base = self.context.hierarchy.base
        return (
            descriptors(),
            len(self.processes()),
            [each.name for each in self.context.hierarchy.jobs.iterdir() if each.is_dir()] if base else [],
            [each.name for each in self.jobs_dir.iterdir() if each.name != NEXT],
            len(self.context.users._free),
        )

    def processes(self) -> set[str]:
        """Return the processes that were started for this host."""
        return children() - self.old_children

    @property
    def expected_processes(self) -> int:
        """The fork server and three spare processes. As root, each spare process has an init, too."""
        return 7 if os.geteuid() == 0 else 4


@contextlib.asynccontextmanager
async def faulty_host(
    hierarchy: Hierarchy, jobs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Host]:
    """A host on which calls fail while its faults are armed."""
    close_garbage()
    loop, old_children = asyncio.get_running_loop(), children()
    isolation = IsolationConfig(mount_namespace=False, ipc_namespace=False, uts_namespace=False)
    with job_context(jobs_dir, hierarchy, spare_setup("pid"), isolation) as context:
        faults = Faults()
        faults.install(monkeypatch.setattr)
        faults.install_in_loop(monkeypatch.setattr, loop, context.watcher)
        yield Host(context, jobs_dir, faults, old_children)
        monkeypatch.undo()


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    with cgroups() as hierarchy:
        async with faulty_host(hierarchy, tmp_path, monkeypatch) as faulty:
            yield faulty


@pytest.fixture
async def bare_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    async with faulty_host(Hierarchy(None, NO_CGROUPS), tmp_path, monkeypatch) as faulty:
        yield faulty


async def job_exits(host: Host) -> None:
    """Run a job that writes output and exits."""
    live = await host.start("sh", "-c", "echo out; exit 3")
    job = await live.end()
    live.release_state()
    assert (job.status, job.exit_code, job.log_size) == (JobStatus.FAILED, 3, 4)
    host.context.logs.discard(job.id)


async def job_is_stopped(host: Host) -> None:
    """Stop a job that would not exit."""
    live = await host.start("sleep", "100")
    live.stop(StopRequest(TerminationReason.STOPPED), 0)
    job = await live.end()
    live.release_state()
    assert (job.status, job.termination and job.termination.signal) == (JobStatus.STOPPED, 9)
    host.context.logs.discard(job.id)


async def command_is_missing(host: Host) -> None:
    """Start a command that does not exist."""
    with contextlib.suppress(CommandNotStarted):
        await host.start("/nonexistent")


async def job_reads_stdin(host: Host) -> None:
    """Run a job that copies its stdin to its stdout."""
    await host_types(host, b"typed\n", stdin=Stdin.OPEN)


async def job_has_terminal(host: Host) -> None:
    """Run a job in a terminal, which echoes its input."""
    await host_types(host, b"typed\r\ntyped\r\n", terminal=Terminal())


async def host_types(host: Host, output: bytes, **spec: Any) -> None:
    live = await host.start("cat", **spec)
    assert live.stdin
    try:
        feeder = live.stdin.attach("keys")
        await live.stdin.feed(feeder, 0, b"typed\n")
        await live.stdin.end(feeder, 6)
    except OSError:
        live.stop(StopRequest(TerminationReason.STOPPED), 0)
        raise
    finally:
        job = await live.end()
        live.release_state()
        stored = data_file(host.jobs_dir / job.id).read_bytes()
        host.context.logs.discard(job.id)
    assert (job.exit_code, stored) == (0, output)


async def job_without_prepared_resources(host: Host) -> None:
    """Run a job without any prepared resources."""
    await job_exits(host)


async def job_without_fork_server(host: Host) -> None:
    """Run a job that also needs a new fork server."""
    await job_exits(host)


Scenario = Callable[[Host], Awaitable[None]]
SCENARIOS: list[Scenario] = [
    job_exits,
    job_is_stopped,
    command_is_missing,
    job_without_fork_server,
    job_reads_stdin,
    job_has_terminal,
]


async def attempt(host: Host, scenario: Scenario, at: int, number: int, *, lasting: bool) -> None:
    """Run a scenario in which one call fails. The host recovers shortly afterwards."""
    if scenario is job_without_prepared_resources:
        await host.empty_pool()
    if scenario is job_without_fork_server:
        await host.close_fork_server()
    timers: list[asyncio.TimerHandle] = []

    def disarm_later() -> None:
        timers.append(host.context.loop.call_later(FAULT_SECONDS, host.faults.disarm))

    host.faults.arm(at, number, lasting=lasting, on_failure=disarm_later)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await scenario(host)
    except OSError as error:
        assert is_exhaustion(error), error  # noqa: PT017 - success is valid, too
    except AssertionError as error:
        error.add_note(f"after call {at}: {host.faults.failed}")
        raise
    finally:
        host.faults.disarm()
        for timer in timers:
            timer.cancel()


async def check_each_call(host: Host, scenario: Scenario, number: int, *, lasting: bool) -> None:
    """Run a scenario once per system call: no resource leaks, and the next job works."""
    await job_exits(host)
    before = await host.resources_after_refill()
    await attempt(host, scenario, -1, number, lasting=lasting)
    calls = host.faults.calls
    assert calls > 5
    for at in range(calls):
        await attempt(host, scenario, at, number, lasting=lasting)
        assert await host.resources_after_refill() == before, f"call {at}: {host.faults.failed}"
        await job_exits(host)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN])
async def test_each_call_can_fail_without_prepared_resources(host: Host, number: int) -> None:
    await check_each_call(host, job_without_prepared_resources, number, lasting=False)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_each_call_can_fail_with_prepared_resources(host: Host, scenario: Scenario) -> None:
    await check_each_call(host, scenario, errno.ENOMEM, lasting=False)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_the_host_can_run_out_of_descriptors_for_some_time(host: Host, scenario: Scenario) -> None:
    await check_each_call(host, scenario, errno.EMFILE, lasting=True)


@pytest.mark.parametrize("scenario", [job_exits, job_is_stopped])
async def test_each_call_can_fail_without_cgroups(bare_host: Host, scenario: Scenario) -> None:
    await check_each_call(bare_host, scenario, errno.ENOMEM, lasting=False)
    await check_each_call(bare_host, scenario, errno.EMFILE, lasting=True)


@pytest.fixture
def failing_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Replace later fork servers by faulty ones; see `faulty_fork_server`."""
    program = Path(__file__).with_name("faulty_fork_server.py")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(program.parents[3]), *sys.path]))

    def set_up(at: int, number: int) -> None:
        argv = [sys.executable, "-P", str(program), str(at), str(number), "{0}", "{1}"]
        monkeypatch.setattr(fork_client, "FORK_SERVER", argv)

    return set_up


async def test_each_call_of_a_spare_process_can_fail(
    host: Host, failing_at: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make each call fail in turn, until 12 consecutive jobs start without a failure."""
    await job_exits(host)
    await host.close_fork_server()
    before = host.resources()
    fork_server, steps = fork_client.FORK_SERVER, list[str]()
    while steps[-12:] != [""] * 12:
        failing_at(len(steps), errno.ENOMEM)
        steps.append(await failed_step(host))
        await host.close_fork_server()
        assert host.resources() == before, steps
    monkeypatch.setattr(fork_client, "FORK_SERVER", fork_server)
    await job_exits(host)
    assert {"fork", "set_up", "exec"} <= set(steps), steps


async def failed_step(host: Host) -> str:
    """Return the step of a job's start that failed, or an empty string."""
    try:
        await job_exits(host)
    except OSError as error:
        assert is_exhaustion(error), error  # noqa: PT017 - success is valid, too
        return str(error.filename)
    return ""
