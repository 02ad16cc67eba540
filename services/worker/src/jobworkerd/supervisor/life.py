"""The life of one job, from its cgroup to its final status. One owner writes the status: this one, so
a stop and a natural exit cannot race.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.job_cgroup import JobCgroup
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.cgroup.process_group import ProcessGroup
from jobworkerd.errors import LimitUnavailable
from jobworkerd.logs.store import LogStore
from jobworkerd.model import (
    AppliedLimit,
    Job,
    JobStatus,
    Limits,
    LimitsPolicy,
    LimitsUpdate,
    OutputSource,
    TerminationReason,
    Usage,
    transition,
)
from jobworkerd.supervisor import process
from jobworkerd.supervisor.outcome import Intent, outcome
from jobworkerd.supervisor.pump import Pump
from jobworkerd.supervisor.spare import SpareProcess


@dataclass(frozen=True)
class Host:
    """What all jobs share."""

    loop: asyncio.AbstractEventLoop
    hierarchy: Hierarchy
    watcher: PopulatedWatcher
    logs: LogStore
    io_paths: Sequence[Path]
    spare: SpareProcess
    read_buffer: memoryview


class LiveJob:
    """A job that is not final yet; the owner of its cgroup, its process, its pipes and its open log."""

    def __init__(self, job: Job, host: Host, on_change: Callable[[str], None]) -> None:
        """Makes everything that the job needs and has its process started.

        `on_change` is called with the job's id whenever it has more output or another status.

        Raises:
            LimitUnavailable: the policy is strict and a limit is not in force.
            OSError: the host lacks something. In either case nothing is left behind.
        """
        self._job = job
        self._host = host
        self._on_change = on_change
        self._intent: Intent | None = None
        self._kill_timer: asyncio.TimerHandle | None = None
        self._started_ns: int | None = None
        self._given_back = ExitStack()
        try:
            self._make()
        except BaseException:
            self._given_back.close()
            raise

    def _make(self) -> None:
        give_back, host, spec = self._given_back.callback, self._host, self._job.spec
        self._containment = self._contain()
        give_back(self._containment.remove)
        applied = self._containment.apply(spec.limits, self._io_paths)
        self._refuse_if_strict(applied)
        self._job = replace(self._job, limits_applied=applied)
        self._log = host.logs.open(self._job.id)
        self._keep_log = False
        give_back(self._give_back_log)
        child = self._child = host.spare.start(spec, self._containment.join_fd)
        give_back(os.close, child.pidfd)
        give_back(os.close, child.orders)
        if isinstance(self._containment, ProcessGroup):
            self._containment.lead(child.pid)
        pipes = {OutputSource.STDOUT: child.stdout, OutputSource.STDERR: child.stderr}
        on_output = partial(self._on_change, self._job.id)
        self._pump = Pump(host.loop, pipes, self._log, host.read_buffer, on_output)

    def _contain(self) -> JobCgroup | ProcessGroup:
        hierarchy = self._host.hierarchy
        if hierarchy.base is None:
            return ProcessGroup(hierarchy.no_base)
        return JobCgroup(hierarchy.base / self._job.id, hierarchy, self._host.watcher)

    @property
    def _io_paths(self) -> list[Path]:
        return [Path(self._job.spec.working_directory), *self._host.io_paths]

    def _refuse_if_strict(self, applied: Iterable[AppliedLimit]) -> None:
        if self._job.spec.limits_policy is LimitsPolicy.STRICT:
            for limit in applied:
                if not limit.in_force:
                    raise LimitUnavailable(limit.limit, limit.reason)

    def _give_back_log(self) -> None:
        if self._keep_log:
            self._host.logs.end(self._job.id)
        else:
            self._host.logs.discard(self._job.id)

    @property
    def log_size(self) -> int:
        """How many bytes the log has by now."""
        return self._log.size

    def snapshot(self, *, live_usage: bool = False) -> Job:
        """Returns the job as it is at this moment."""
        job = replace(self._job, log_size=self._log.size)
        return replace(job, usage=self._usage()) if live_usage and not job.status.final else job

    def _usage(self) -> Usage:
        """Returns what the job has used so far; a step of the host's clock does not change the wall time."""
        wall_usec = None if self._started_ns is None else (time.monotonic_ns() - self._started_ns) // 1_000
        return replace(self._containment.usage(), wall_usec=wall_usec)

    def update(self, update: LimitsUpdate) -> Job:
        """Changes limits of the job, which runs, and returns it.

        Raises:
            LimitUnavailable: the policy is strict and one of them is not in force. All are as before then.
        """
        try:
            self._change(replace(self._job.spec.limits, **update.changes), update.changes)
        except LimitUnavailable:
            before = self._containment.change(self._job.spec.limits, update.changes, self._io_paths)
            self._job = with_limits(self._job, update.changes, before)
            raise
        return self.snapshot()

    def _change(self, limits: Limits, names: Collection[str]) -> None:
        applied = self._containment.change(limits, names, self._io_paths)
        self._refuse_if_strict(applied)
        spec = replace(self._job.spec, limits=limits)
        self._job = replace(with_limits(self._job, names, applied), spec=spec)

    async def run(self) -> Job:
        """Returns once the command runs.

        Raises:
            CommandNotStarted: it cannot be executed. The job is gone then, without a trace.
            OSError: a step before that failed, through no fault of the request's. The same holds.
        """
        await self._readable(self._child.orders)
        failure = process.exec_failure(self._job.spec, os.read(self._child.orders, 256))
        if failure:
            await self._clean_up()
            self._given_back.close()
            raise failure
        self._started_ns = time.monotonic_ns()
        self._job = transition(
            self._job, JobStatus.RUNNING, start_time_ns=time.time_ns(), pid=self._child.pid
        )
        self._on_change(self._job.id)
        return self.snapshot()

    async def end(self) -> Job:
        """Returns the final job, once there is one; `run` has returned before.

        The order makes the final status true: no process, then no more output, then the last figures.
        """
        timeout = self._job.spec.timeout
        timer = self._host.loop.call_later(timeout, self._time_out) if timeout is not None else None
        await self._readable(self._child.pidfd)
        if timer:
            timer.cancel()
        leftovers = [pid for pid in self._containment.pids() if pid != self._child.pid]
        wait_status = await self._clean_up()
        # What memory there is left is page cache, which no process has.
        usage = replace(self._usage(), memory_current_bytes=None)
        ended = outcome(self._job.spec, wait_status, self._intent, usage, len(leftovers))
        self._keep_log = True
        self._given_back.close()
        return transition(
            self._job,
            ended.status,
            end_time_ns=max(time.time_ns(), self._job.start_time_ns or 0),
            pid=0,
            exit_code=ended.exit_code,
            termination=ended.termination,
            usage=usage,
            log_size=self._log.size,
        )

    def stop(self, intent: Intent, grace_period: float) -> None:
        """Asks the command to end, and kills all of the job after the grace period (seconds).

        The first intent counts; a shorter grace period than an earlier one's counts, too. A command that
        has ended by itself is not touched: its own end is the truth.
        """
        if self._has_ended():
            return
        if self._intent is None:
            self._intent = intent
            if grace_period > 0:
                self._signal(self._job.spec.stop_signal)
        self._kill_within(grace_period)

    def kill(self) -> None:
        """Kills all of the job now."""
        self._containment.kill()

    def _time_out(self) -> None:
        self.stop(Intent(TerminationReason.TIMED_OUT), self._job.spec.stop_grace_period)

    def _kill_within(self, seconds: float) -> None:
        now = self._host.loop.time()
        if self._kill_timer and self._kill_timer.when() <= now + seconds:
            return
        if self._kill_timer:
            self._kill_timer.cancel()
        self._kill_timer = self._host.loop.call_later(seconds, self.kill)

    def _signal(self, number: int) -> None:
        """Signals the process group, and wakes what is stopped, which could not handle the signal."""
        for each in (number, signal.SIGCONT):
            try:
                os.killpg(self._child.pid, each)
            except ProcessLookupError:
                # Between fork(2) and setsid(2) there is no such group yet, but the process is.
                signal.pidfd_send_signal(self._child.pidfd, each)

    def _has_ended(self) -> bool:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PIDFD, self._child.pidfd, flags) is not None

    async def _clean_up(self) -> int:
        """Ends whatever the job still has, takes its last output and returns the wait status.

        The main process is reaped last: until then nobody else can have its pid or process group.
        """
        await self._containment.kill_all()
        await self._readable(self._child.pidfd)
        if self._kill_timer:
            self._kill_timer.cancel()
        self._pump.finish()
        return os.waitpid(self._child.pid, 0)[1]  # noqa: ASYNC222 - it has ended, so this does not wait

    async def _readable(self, descriptor: int) -> None:
        """Returns once a descriptor has input or is at its end; a pidfd has input once its process ended."""
        ready = self._host.loop.create_future()
        self._host.loop.add_reader(descriptor, _set, ready)
        try:
            await ready
        finally:
            self._host.loop.remove_reader(descriptor)


def with_limits(job: Job, names: Collection[str], applied: Iterable[AppliedLimit]) -> Job:
    """Returns the job with what the kernel made of the named limits in the place of what it said before."""
    others = (limit for limit in job.limits_applied if limit.limit not in names)
    return replace(job, limits_applied=(*applied, *others))


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
