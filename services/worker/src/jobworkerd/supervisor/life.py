"""The life of one job, from its cgroup to its final status. One owner writes the status: this one, so
a stop and a natural exit cannot race.
"""

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.job_cgroup import JobCgroup, limits_set
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.cgroup.process_group import ProcessGroup
from jobworkerd.config import IsolationConfig
from jobworkerd.errors import LimitUnavailable
from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.insist import insist
from jobworkerd.logs.store import LogStore
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import (
    Job,
    JobStatus,
    LimitsUpdate,
    OutputSource,
    TerminationReason,
    Usage,
    transition,
)
from jobworkerd.supervisor import accounts, confinement, headroom, process, spares
from jobworkerd.supervisor.killing import Killing, describe
from jobworkerd.supervisor.limits import changed, refuse_if_strict, restored
from jobworkerd.supervisor.outcome import Intent, Remains, outcome
from jobworkerd.supervisor.process import Process
from jobworkerd.supervisor.pump import Pump
from jobworkerd.supervisor.readable import readable
from jobworkerd.supervisor.spares import Spare, Spares
from jobworkerd.supervisor.users import User, Users

T = TypeVar("T")


@dataclass(frozen=True)
class Host:
    """What all jobs share."""

    loop: asyncio.AbstractEventLoop
    hierarchy: Hierarchy
    watcher: PopulatedWatcher
    logs: LogStore
    io_paths: Sequence[Path]
    spares: Spares
    users: Users
    isolation: IsolationConfig
    read_buffer: memoryview
    on_fault: Callable[[str, BaseException], None]
    """Reports an error in a step of a job's end."""
    warn: Callable[..., None]
    """Writes a warning to the server's log."""


class LiveJob:
    """A job that is not final yet; the owner of its cgroup, its process, its pipes and its open log."""

    def __init__(self, job: Job, host: Host, on_change: Callable[[str], None]) -> None:
        """`on_change` is called with the job's id whenever it has more output or another status."""
        self._job = job
        self._host = host
        self._on_change = on_change
        self._io_paths = [Path(job.spec.working_directory or "/"), *host.io_paths]
        self._init: Process | None = None
        self._main: Process | None = None
        self._intent: Intent | None = None
        self._killing = Killing(host.loop, self._kill, host.on_fault, self._kill_has_no_effect)
        self._started_ns: int | None = None
        self._containment = self._contain()
        self._log: LogWriter | None = None
        self._keep_log = False
        self._given_back = ExitStack()

    async def _make(self) -> None:
        """Makes everything that the job needs and has its process started."""
        spec = self._job.spec
        spare = await self._take_spare()
        with headroom.kept():
            self._make_containment()
        applied = self._containment.apply(spec.limits, self._io_paths)
        self._job = replace(self._job, limits_applied=applied)
        refuse_if_strict(spec.limits_policy, applied, self._job.isolation_applied)
        with headroom.kept():
            self._log = self._host.logs.open(self._job.id)
        self._given_back.callback(self._give_back_log)
        self._pump.start(self._log)
        self._containment.hurry()
        process.let_go(spare, self._containment.directory_fd)

    async def _take_spare(self) -> Spare:
        """Takes a process and tells it what it will run, so that it prepares itself meanwhile."""
        give_back, host = self._given_back.callback, self._host
        spare = await host.spares.take()
        pipes = {OutputSource.STDOUT: spare.stdout, OutputSource.STDERR: spare.stderr}
        self._pump = Pump(host.loop, pipes, host.read_buffer, partial(self._on_change, self._job.id))
        give_back(self._pump.close)
        self._orders = spare.orders
        give_back(spare.orders.close)
        self._spare_pid: int | None = spare.pid
        give_back(self._reap_spare)
        if spare.init:
            self._init = Process.of(spare.init)
            give_back(self._end_init)
        user = host.users.take()
        give_back(host.users.give_back, user)
        self._isolate(spare, user)
        return spare

    def _isolate(self, spare: Spare, user: User) -> None:
        """Says in the record how the job is isolated, and to the spare process what it will run."""
        wanted, network = self._host.isolation, self._job.spec.network
        applied = confinement.applied(wanted, user, self._host.users.problem, network, spare.refused)
        home = confinement.home_of(wanted, spare.refused)
        named = confinement.has_accounts(wanted, spare.refused)
        lines = accounts.lines(user, home, self._host.users.widest) if named else ()
        spec = replace(self._job.spec, working_directory=self._job.spec.working_directory or home or "/")
        process.give_order(spare, spec, user, home, lines)
        self._job = replace(self._job, spec=spec, isolation_applied=applied)

    def _end_init(self) -> None:
        """Ends the PID namespace's first process, and with it whatever else is in there."""
        if self._init:
            spares.reap(self._init.pid)
            os.close(self._init.pidfd)
            self._init = None

    def _reap_spare(self) -> None:
        if self._spare_pid is None:
            return
        if self._main:  # which may be in the same group still, and is waited for by its id
            spares.end(self._spare_pid)
        else:
            spares.reap(self._spare_pid)
        self._spare_pid = None

    def _make_containment(self) -> None:
        """Makes the cgroup; where something else has taken the base away for good, the job has none."""
        self._host.hierarchy.repair()
        try:
            self._containment.make()
        except OSError as error:
            if is_exhaustion(error) or not self._host.hierarchy.problem:
                raise
            self._containment.remove()
            self._containment = ProcessGroup(self._host.hierarchy.problem)

    def restore_limits(self) -> None:
        """Sets all limits again, after something else disabled their controllers.

        Raises:
            OSError: the host is exhausted.
        """
        self._restore_limits(limits_set(self._job.spec.limits))

    def _restore_limits(self, names: Collection[str]) -> None:
        self._job = restored(self._job, names, self._containment, self._io_paths)

    def _contain(self) -> JobCgroup | ProcessGroup:
        hierarchy = self._host.hierarchy
        if hierarchy.base is None:
            return ProcessGroup(hierarchy.no_base)
        return JobCgroup(hierarchy.jobs / self._job.id, hierarchy, self._host.watcher)

    def _give_back_log(self) -> None:
        if self._keep_log:
            self._host.logs.end(self._job.id)
        else:
            self._host.logs.discard(self._job.id)

    @property
    def id(self) -> str:
        """The job's id."""
        return self._job.id

    def memory_high_count(self) -> int:
        """Returns how often `memory.high` slowed the job."""
        return self._containment.memory_high_count()

    def lift_memory_high(self) -> None:
        """Lifts `memory.high`, and says so in the record and in the log."""
        try:
            self._containment.lift_memory_high()
        except OSError as error:
            self._host.on_fault("memory.high", error)
            return
        self._job = replace(self._job, memory_high_lift_time_ns=time.time_ns())
        self._host.warn(
            "memory.high lifted", job_id=self._job.id, max_memory=self._job.spec.limits.max_memory
        )

    @property
    def log_size(self) -> int:
        """How many bytes the log has by now."""
        return self._log.size if self._log else 0

    def snapshot(self, *, live_usage: bool = False) -> Job:
        """Returns the job as it is at this moment."""
        job = replace(self._job, log_size=self.log_size)
        if not live_usage or job.status.final:
            return job
        limits = self._containment.read_back(job.limits_applied)
        return replace(job, usage=self._usage(), limits_applied=limits)

    def _usage(self) -> Usage:
        """Returns what the job has used so far."""
        return replace(self._containment.usage(), wall_usec=self._wall_usec())

    def _wall_usec(self) -> int | None:
        """Returns how long the job has run; a step of the host's clock does not change that."""
        return None if self._started_ns is None else (time.monotonic_ns() - self._started_ns) // 1_000

    def update(self, update: LimitsUpdate) -> Job:
        """Changes limits of the job, which runs, and returns it.

        Raises:
            LimitUnavailable: the policy is strict and one of them is not in force. All are as before then.
            OSError: the host is exhausted. All are as before then, too.
        """
        try:
            updated = changed(self._job, update, self._containment, self._io_paths)
            now = self._containment.read_back(updated.limits_applied)
        except (LimitUnavailable, OSError):
            self._restore_limits(update.changes)
            raise
        self._job = updated
        return replace(self.snapshot(), limits_applied=now)

    async def run(self) -> Job:
        """Returns once the command runs.

        Raises:
            LimitUnavailable: the policy is strict and a limit is not in force.
            CommandNotStarted: the command cannot be executed.
            OSError: another step failed, such as on an exhausted host. In each case nothing is left behind.
        """
        try:
            await self._make()
            main = await self._start()
            self._containment.settle()
        except BaseException:
            await self._clean_up()
            await self._release()
            raise
        self._started_ns = time.monotonic_ns()
        self._job = transition(self._job, JobStatus.RUNNING, start_time_ns=time.time_ns(), pid=main.pid)
        self._on_change(self._job.id)
        return self.snapshot()

    async def _start(self) -> Process:
        """Returns the process that executes the command, once it does."""
        report = await self._report()
        if pid := process.started_pid(report):
            self._main = Process.of(pid)
            self._given_back.callback(os.close, self._main.pidfd)
            if isinstance(self._containment, ProcessGroup):
                self._containment.lead(pid)
            if self._intent:  # it came while there was nobody to tell
                self._signal(self._main, signal.SIGKILL if self._killing.due else self._job.spec.stop_signal)
            report = await self._report()
        if refused := process.refused(report):
            parts = tuple(confinement.refuse(part, refused) for part in self._job.isolation_applied)
            self._job = replace(self._job, isolation_applied=parts)
            report = await self._report()
        self._reap_spare()
        private = confinement.has_private_directories(self._job.isolation_applied)
        failure = process.failure(self._job.spec, report, private=private)
        if self._main and not failure:
            self._orders.close()
            return self._main
        if self._init and spares.has_ended(self._init.pid):  # clone3(2) blames the memory
            raise OSError(errno.EAGAIN, "the init of the job's PID namespace was killed", "init")
        raise failure or OSError(errno.EAGAIN, "the spare process was killed", "order")

    async def _report(self) -> bytes:
        """Returns what the spare process or its successor says next; empty once there is nobody to say
        more.
        """
        await readable(self._orders.fileno())
        return process.read_report(self._orders)

    async def end(self) -> Job:
        """Returns the final job, once there is one; `run` has returned before.

        The order makes the final status true: no process, then no more output, then the last figures.
        """
        assert self._main
        timeout = self._job.spec.timeout
        timer = self._host.loop.call_later(timeout, self._time_out) if timeout is not None else None
        await readable(self._main.pidfd)
        if timer:
            timer.cancel()
        leftovers = await self._attempt("leftovers", self._containment.populated, failed=False)
        wait_status = await self._clean_up()
        assert wait_status is not None
        # What memory there is left is page cache, which no process has.
        usage = await self._attempt("usage", self._containment.usage, failed=Usage())
        usage = replace(usage, wall_usec=self._wall_usec(), memory_current_bytes=None)
        before = self._job.limits_applied
        limits = await self._attempt("limits", partial(self._containment.read_back, before), failed=before)
        ended = outcome(self._job.spec, wait_status, self._intent, Remains(usage, limits, leftovers))
        self._keep_log = True
        await self._release()
        return transition(
            self._job,
            ended.status,
            end_time_ns=max(time.time_ns(), self._job.start_time_ns or 0),
            pid=0,
            exit_code=ended.exit_code,
            termination=ended.termination,
            kill_pending=False,
            limits_applied=limits,
            usage=usage,
            log_size=self.log_size,
        )

    def stop(self, intent: Intent, grace_period: float) -> None:
        """Asks the command to end, and kills all of the job after the grace period (seconds).

        The first intent counts; a shorter grace period than an earlier one's counts, too. A command that
        has ended by itself is not touched: its own end is the truth.
        """
        if self._main and _has_ended(self._main):
            return
        if self._intent is None:
            self._intent = intent
            if self._main and grace_period > 0:
                self._signal(self._main, self._job.spec.stop_signal)
        self._killing.within(grace_period)

    def _kill(self) -> None:
        """Kills all of the job; one that has no process yet is killed as soon as it has one.

        A process that is killed before it has said that it is there could not be waited for.
        """
        if self._main:
            self._containment.kill()
            self._killing.expect_effect()

    def _kill_has_no_effect(self) -> None:
        self._job = replace(self._job, kill_pending=True)
        self._host.warn("kill has no effect", job_id=self._job.id, processes=describe(self._containment.pids))

    def _time_out(self) -> None:
        self.stop(Intent(TerminationReason.TIMED_OUT), self._job.spec.stop_grace_period)

    def _signal(self, main: Process, number: int) -> None:
        """Signals the process group, and wakes what is stopped, which could not handle the signal."""
        for each in (number, signal.SIGCONT):
            spares.signal_group(main.pid, each)

    async def _clean_up(self) -> int | None:
        """Ends whatever the job still has, takes its last output and returns the main process's wait status.

        It is reaped when its process group is empty: until then nobody else can have its pid.
        """
        self._killing.expect_effect()
        if self._init:
            os.kill(self._init.pid, signal.SIGKILL)
        await self._containment.kill_all()
        if self._main:
            await readable(self._main.pidfd)
        self._killing.close()  # once reaped, the number may be another process group's
        # It has ended, so this does not wait; but what ends a PID namespace waits for this.
        wait_status = os.waitpid(self._main.pid, 0)[1] if self._main else None  # noqa: ASYNC222
        if self._init:
            self._reap_spare()  # the end of a PID namespace waits until each process of it is reaped
            await readable(self._init.pidfd)
        if self._log:
            await self._attempt("output", self._pump.finish, failed=None)
        return wait_status

    async def _release(self) -> None:
        """Gives back all that the job still has, once it has no process."""
        await self._attempt("cgroup", self._containment.remove, failed=None)
        self._given_back.close()

    async def _attempt(self, what: str, step: Callable[[], T], *, failed: T) -> T:
        """Takes one step of the job's end, which goes on where the step fails."""
        try:
            return await insist(step)
        except OSError as error:
            self._host.on_fault(what, error)
            return failed


def _has_ended(main: Process) -> bool:
    try:
        return os.waitid(os.P_PIDFD, main.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it was reaped already, and its namespace is just being ended
        return True
