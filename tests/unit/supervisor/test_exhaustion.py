"""A host that runs out of a resource at any step of a job's life: no leak, and the next job works."""

import asyncio
import contextlib
import errno
import itertools
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from job_context import NO_CGROUPS, job_context, new_job, spare_setup

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.mounts import cgroup2_mount
from jobworkerd.config import IsolationConfig
from jobworkerd.errors import CommandNotStarted
from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.logs.store import NEXT
from jobworkerd.model import JobStatus, TerminationReason
from jobworkerd.spawn import fork_client
from jobworkerd.spawn.spare import discard
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.outcome import StopRequest
from tests.unit.supervisor.faults import Faults

SPAWN = fork_client._spawn
LASTS_SECONDS, WITHIN_SECONDS = 0.03, 30


@contextlib.contextmanager
def cgroups() -> Iterator[Hierarchy]:
    """A directory for cgroups if this process can create them; otherwise jobs are process groups."""
    mount = cgroup2_mount()
    base = mount / f"jobworker-unit-{uuid.uuid4().hex[:12]}" if mount else None
    try:
        if base:
            (base / "jobs").mkdir(parents=True)
    except OSError:
        base = None
    try:
        yield Hierarchy(base, "no cgroups here", dict.fromkeys(("cpu", "memory", "pids"), "not enabled"))
    finally:
        if base:
            (base / "jobs").rmdir()
            base.rmdir()


@dataclass
class World:
    """The resources that jobs share, and the current descriptors, processes and files."""

    context: JobContext
    jobs_dir: Path
    faults: Faults
    others: set[str]
    ids: Iterator[str] = field(default_factory=lambda: (str(uuid.uuid4()) for _ in itertools.count()))

    async def start(self, *argv: str) -> LiveJob:
        """Start a job."""
        job = new_job(*argv, job_id=next(self.ids))
        return await LiveJob.start(job, self.context, lambda _: None, lambda _: None)

    def fill_pool(self) -> None:
        """Prepare spare processes and a log for the next jobs."""
        self.context.spare_pool.refill()
        self.context.logs.prepare()

    async def empty_pool(self) -> None:
        """Remove everything that is prepared, except the fork server."""
        while self.context.spare_pool.size:
            discard(await self.context.spare_pool.take())
        self.context.logs.close()

    def end_fork_server(self) -> None:
        """Remove everything that is prepared, including the fork server."""
        self.context.spare_pool.close()
        self.context.logs.close()

    async def settled(self) -> tuple[list[str], int, list[str], list[str], int]:
        """Wait for all spare processes, and return the current resources."""
        self.fill_pool()
        async with asyncio.timeout(WITHIN_SECONDS):
            while len(self.processes()) < self.expected_processes:
                await asyncio.sleep(0.002)
        return self.present()

    def present(self) -> tuple[list[str], int, list[str], list[str], int]:
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
        """Return the processes that this world started."""
        return children() - self.others

    @property
    def expected_processes(self) -> int:
        """The fork server and three spare processes, each with an init if the user is root."""
        return 7 if os.geteuid() == 0 else 4


def children() -> set[str]:
    """Return the ids of this process's children, including zombies."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def descriptors() -> list[str]:
    """Return the kinds of the open files of this process."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(entry.readlink().as_posix().split(":")[0])
    return sorted(found)


@contextlib.asynccontextmanager
async def making(
    hierarchy: Hierarchy, jobs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A world in which calls fail once its faults are armed."""
    loop, others = asyncio.get_running_loop(), children()
    isolation = IsolationConfig(mount_namespace=False, ipc_namespace=False, uts_namespace=False)
    with job_context(jobs_dir, hierarchy, spare_setup("pid"), isolation) as context:
        faults = Faults()
        faults.install(monkeypatch.setattr)
        faults.install_in_loop(monkeypatch.setattr, loop, context.watcher)
        yield World(context, jobs_dir, faults, others)
        monkeypatch.undo()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    with cgroups() as hierarchy:
        async with making(hierarchy, tmp_path, monkeypatch) as made:
            yield made


@pytest.fixture
async def world_without_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with making(Hierarchy(None, NO_CGROUPS), tmp_path, monkeypatch) as made:
        yield made


async def ends_by_itself(world: World) -> None:
    """A job that writes and ends."""
    live = await world.start("sh", "-c", "echo out; exit 3")
    job = await live.end()
    assert (job.status, job.exit_code, job.log_size) == (JobStatus.FAILED, 3, 4)
    world.context.logs.discard(job.id)


async def is_stopped(world: World) -> None:
    """A job that does not end, and is killed."""
    live = await world.start("sleep", "100")
    live.stop(StopRequest(TerminationReason.STOPPED), 0)
    job = await live.end()
    assert (job.status, job.termination and job.termination.signal) == (JobStatus.STOPPED, 9)
    world.context.logs.discard(job.id)


async def cannot_be_executed(world: World) -> None:
    """A command that does not exist."""
    with contextlib.suppress(CommandNotStarted):
        await world.start("/nonexistent")


async def finds_nothing_prepared(world: World) -> None:
    """Run a job without any prepared resources."""
    await ends_by_itself(world)


async def finds_no_fork_server(world: World) -> None:
    """Run a job for which a fork server must be started, too."""
    await ends_by_itself(world)


Scenario = Callable[[World], Awaitable[None]]
SCENARIOS: list[Scenario] = [ends_by_itself, is_stopped, cannot_be_executed, finds_no_fork_server]


async def attempt(world: World, scenario: Scenario, at: int, number: int, *, lasting: bool) -> None:
    """Play a scenario in which one call fails and the host recovers shortly afterwards."""
    if scenario is finds_nothing_prepared:
        await world.empty_pool()
    if scenario is finds_no_fork_server:
        world.end_fork_server()
    healing: list[asyncio.TimerHandle] = []

    def heal_later() -> None:
        healing.append(world.context.loop.call_later(LASTS_SECONDS, world.faults.heal))

    world.faults.arm(at, number, lasting=lasting, on_failure=heal_later)
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            await scenario(world)
    except OSError as error:
        assert is_exhaustion(error), error  # noqa: PT017 - or it is no error at all
    except AssertionError as error:
        error.add_note(f"after call {at}: {world.faults.failed}")
        raise
    finally:
        world.faults.heal()
        for timer in healing:
            timer.cancel()


async def every_call_fails_once(world: World, scenario: Scenario, number: int, *, lasting: bool) -> None:
    """Play a scenario once per call that it makes: no resource leaks, and the next job works."""
    await ends_by_itself(world)
    before = await world.settled()
    await attempt(world, scenario, -1, number, lasting=lasting)
    calls = world.faults.calls
    assert calls > 5
    for at in range(calls):
        await attempt(world, scenario, at, number, lasting=lasting)
        assert await world.settled() == before, f"call {at}: {world.faults.failed}"
        await ends_by_itself(world)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN])
async def test_a_job_for_which_all_is_to_be_made(world: World, number: int) -> None:
    await every_call_fails_once(world, finds_nothing_prepared, number, lasting=False)


@pytest.mark.parametrize("scenario", [ends_by_itself, is_stopped, cannot_be_executed, finds_no_fork_server])
async def test_a_job_for_which_much_is_prepared(world: World, scenario: Scenario) -> None:
    await every_call_fails_once(world, scenario, errno.ENOMEM, lasting=False)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_no_descriptor_is_left_for_a_while(world: World, scenario: Scenario) -> None:
    await every_call_fails_once(world, scenario, errno.EMFILE, lasting=True)


@pytest.mark.parametrize("scenario", [ends_by_itself, is_stopped])
async def test_a_host_without_cgroups(world_without_cgroups: World, scenario: Scenario) -> None:
    await every_call_fails_once(world_without_cgroups, scenario, errno.ENOMEM, lasting=False)
    await every_call_fails_once(world_without_cgroups, scenario, errno.EMFILE, lasting=True)


@pytest.fixture
def failing_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Make fork servers that are started from then on fail; see `faulty_fork_server`."""
    program = Path(__file__).with_name("faulty_fork_server.py")
    path = os.pathsep.join([str(program.parents[3]), *sys.path])

    def set_up(at: int, number: int) -> None:
        def spawn(sock: int, setup: int) -> "subprocess.Popen[bytes]":
            argv = [sys.executable, "-P", str(program), str(at), str(number), str(sock), str(setup)]
            return subprocess.Popen(
                argv,
                pass_fds=(sock, setup),
                stdin=subprocess.DEVNULL,
                process_group=0,
                env={**os.environ, "PYTHONPATH": path},
            )

        monkeypatch.setattr(fork_client, "_spawn", spawn)

    return set_up


async def test_any_call_of_a_spare_process_may_fail(
    world: World, failing_at: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let each call fail in turn, until several consecutive jobs see no failure."""
    await ends_by_itself(world)
    world.end_fork_server()
    before = world.present()
    steps: list[str] = []
    while steps[-12:] != [""] * 12:
        failing_at(len(steps), errno.ENOMEM)
        steps.append(await failed_step(world))
        world.end_fork_server()
        assert world.present() == before, steps
    monkeypatch.setattr(fork_client, "_spawn", SPAWN)
    await ends_by_itself(world)
    assert {"fork", "set_up", "exec"} <= set(steps), steps


async def failed_step(world: World) -> str:
    """Return the step of a job's start that failed, or an empty string."""
    try:
        await ends_by_itself(world)
    except OSError as error:
        assert is_exhaustion(error), error  # noqa: PT017 - or it is no error at all
        return str(error.filename)
    return ""
