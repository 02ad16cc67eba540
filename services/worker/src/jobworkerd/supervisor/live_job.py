"""A job until it is final. Only this module writes a final status, so a stop and an exit cannot race."""

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from msgspec.structs import replace

from jobworkerd.model import Job, JobStatus, LimitsUpdate, TerminationReason, Usage
from jobworkerd.supervisor.holder import HeldJob
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_events import ids_of
from jobworkerd.supervisor.job_input import JobInput
from jobworkerd.supervisor.job_limits import JobLimits
from jobworkerd.supervisor.job_phase import Phase
from jobworkerd.supervisor.job_resources import JobResources
from jobworkerd.supervisor.job_start import JobStart
from jobworkerd.supervisor.job_state import HeldState, JobState
from jobworkerd.supervisor.job_terminal import JobTerminal, Size
from jobworkerd.supervisor.kill_timer import KillTimer, describe
from jobworkerd.supervisor.outcome import FinalStats, StopRequest, final_job
from jobworkerd.terminal import TerminalResize, add_resize


class LiveJob:
    """The record of a job that is not final, and the operations that its phase allows."""

    def __init__(self, state: JobState, context: JobContext, on_change: Callable[[str], None]) -> None:
        """Acquire nothing; see `start` and `adopt`."""
        job = state.job
        self._state = HeldState(state, context)
        self._context = context
        self._on_change = on_change
        io_paths = [Path(job.spec.working_directory or "/"), *context.io_paths]
        self._resources = JobResources(job.id, context, partial(on_change, job.id), self._resized)
        self._processes = self._resources.processes
        self._start = JobStart(self._state, self._resources, context, io_paths, self._main_attached)
        self.limits = JobLimits(self._state, self._resources, context, io_paths)
        self._kill_timer = KillTimer(context.loop, self._kill, context.on_fault, self._kill_has_no_effect)

    @classmethod
    async def start(
        cls,
        job: Job,
        context: JobContext,
        on_create: Callable[[Self], None],
        on_change: Callable[[str], None],
        commit: Callable[[Job], Awaitable[None]],
    ) -> Self:
        """Start a job and return it when its command runs. Release all resources on an error.

        `on_create` is called with the job before the first step: the job can be stopped from then on.
        `on_change` is called with the job's id whenever its log grows or its status changes. `commit` stores
        the record of the job; nothing runs before it has returned.

        Raises:
            LimitUnavailable: the policy is strict and a limit cannot be enforced.
            CommandNotStarted: the command cannot be executed.
            OSError: another step failed, for example because the host is exhausted.
        """
        live = cls(JobState(job=job), context, on_change)
        on_create(live)
        try:
            await live._start.prepare(commit)
            await live._start.execute()
        except BaseException:
            await live.abandon()
            raise
        on_change(job.id)
        return live

    def adopt(self, held: HeldJob) -> None:
        """Take over a job of an earlier supervisor. Then `continue_start` or `abandon` follows.

        Raises:
            OSError: a resource does not exist any more, or the host is exhausted.
        """
        state = self._state.value
        self._state.adopted()
        self._resources.adopt(state, held)
        self.limits.note_lost_cgroup()
        if state.kill_at is not None:
            self._kill_timer.kill_at(state.kill_at)
            if state.kill_at > self._context.loop.time():
                self._send_stop_signal()

    def continue_start(self) -> None:
        """Continue an adopted job. Then `resume` follows if it is starting, or else `end`."""
        if self.is_starting:
            self._start.resume()

    async def resume(self) -> Self:
        """Complete the start of an adopted job like `start`, with the same errors."""
        try:
            await self._start.execute()
        except BaseException:
            await self.abandon()
            raise
        self._on_change(self.id)
        return self

    async def abandon(self, *, keep_log: bool = False) -> None:
        """Kill the job and release all resources, because its start or its adoption has failed."""
        await self._end_processes()
        self._state.release()
        if keep_log:
            self._resources.keep_log()
        await self._resources.release()

    def _main_attached(self) -> None:
        """Deliver the signal of a stop that was requested before the main process was known."""
        if self._state.value.stop:
            if self._kill_timer.due:
                self._processes.signal_main(signal.SIGKILL)
            else:
                self._send_stop_signal()

    def _send_stop_signal(self) -> None:
        """Signal the main process, if it is known, unless it has received the signal."""
        if self._processes.main and not self._state.value.stop_signaled:
            self._processes.signal_main(self._job.spec.stop_signal)
            self._state.change(stop_signaled=True)

    @property
    def stdin(self) -> JobInput | None:
        """The stdin that clients feed; None if the job reads /dev/null."""
        return self._resources.stdin

    def signal(self, number: int) -> None:
        """Signal the process group, unless the main process has ended and its PID can belong to another."""
        if self._processes.main and not self._processes.main_has_ended():
            with suppress(ProcessLookupError):
                self._processes.main.signal_group(number)

    def signal_foreground(self, number: int) -> None:
        """Signal the foreground process group of the terminal, or else the process group of the job."""
        stdin = self._resources.stdin
        group = stdin.foreground_group() if isinstance(stdin, JobTerminal) else 0
        if not group:
            self.signal(number)
        elif self._processes.has_group(group, self._resources.containment.pids):
            with suppress(ProcessLookupError):
                os.killpg(group, number)

    def _resized(self, size: Size) -> None:
        resize = TerminalResize(*size, log_offset=self.log_size)
        self._state.change(
            job=replace(self._job, terminal_resizes=add_resize(self._job.terminal_resizes, resize))
        )
        self._on_change(self.id)

    @property
    def last_resize(self) -> TerminalResize | None:
        """The last change of the terminal's size; None without a change."""
        return self._job.terminal_resizes[-1] if self._job.terminal_resizes else None

    @property
    def is_starting(self) -> bool:
        """Whether the command does not run yet."""
        return self._job.status is JobStatus.INITIALIZING

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that the job needs, except those that the main process has started."""
        return self._state.value.pids

    @property
    def _job(self) -> Job:
        return self._state.job

    @property
    def id(self) -> str:
        """The job's id."""
        return self._job.id

    @property
    def log_size(self) -> int:
        """The current size of the log in bytes."""
        return self._resources.log_size

    def snapshot(self, *, live_usage: bool = False) -> Job:
        """Return the current record; with `live_usage`, the kernel's current figures and limits."""
        job = replace(self._job, log_size=self.log_size)
        if not live_usage:
            return job
        usage = replace(self._resources.usage(), wall_usec=self._state.value.wall_usec)
        limits = self._resources.containment.read_back(job.applied_limits)
        return replace(job, usage=usage, applied_limits=limits)

    def update(self, update: LimitsUpdate) -> Job:
        """Change limits of the running job and return the record.

        Raises:
            LimitUnavailable: the policy is strict and a limit cannot be enforced. No limit has changed.
            OSError: the host is exhausted. No limit has changed.
        """
        current = self.limits.change(update)
        return replace(self.snapshot(), applied_limits=current)

    def stop(self, request: StopRequest, grace_period: float) -> None:
        """Send the stop signal, and kill the job after the grace period (seconds).

        The first request counts; the shortest grace period of all requests counts. A command that has ended
        by itself keeps its own outcome.
        """
        if self._processes.main_has_ended():
            return
        state = self._state.value
        kill_at = self._kill_timer.kill_at(self._context.loop.time() + grace_period)
        if state.stop is None:
            self._state.change(stop=request, kill_at=kill_at)
            if grace_period > 0:
                self._send_stop_signal()
        elif kill_at != state.kill_at:
            self._state.change(kill_at=kill_at)

    def _time_out(self) -> None:
        self.stop(StopRequest(TerminationReason.TIMED_OUT), self._job.spec.stop_grace_period)

    def kill_process_group(self) -> None:
        """Kill the process group."""
        self.signal(signal.SIGKILL)

    def _kill(self) -> None:
        """Kill the job. In phase PREPARING, `_main_attached` kills it later.

        The supervisor cannot reap a process that is killed before its PID is known.
        """
        if self._state.value.phase is not Phase.PREPARING:
            self._resources.containment.kill()
            self._kill_timer.expect_effect()

    def _kill_has_no_effect(self) -> None:
        self._state.change(job=replace(self._job, kill_pending=True))
        processes = describe(self._resources.containment.pids)
        self._context.warn("kill has no effect", **ids_of(self._job), processes=processes)

    async def end(self) -> Job:
        """Wait until the started job has ended and return the final record.

        The order makes the final status true: no process, then no more output, then the last figures.
        """
        await self._main_ended()
        attempt, containment = self._context.attempt, self._resources.containment
        leftovers = self._state.value.leftovers or await self._resources.has_leftovers()
        if leftovers:
            self._state.change(leftovers=True)
        wait_status = await self._end_processes()
        assert wait_status is not None
        usage = await attempt("usage", self._resources.usage, failed=Usage())
        # Memory that is still charged to the cgroup is page cache, not memory of a process.
        usage = replace(usage, wall_usec=self._state.value.wall_usec, memory_current_bytes=None)
        before = self._job.applied_limits
        limits = await attempt("limits", partial(containment.read_back, before), failed=before)
        stats = FinalStats(usage, limits, leftovers)
        final = final_job(self.snapshot(), wait_status, self._state.value.stop, stats)
        self._state.finish(final)
        self._resources.keep_log()
        await self._resources.release()
        return replace(final, log_size=self.log_size)

    def release_state(self) -> None:
        """Forget the final job, whose record is committed."""
        self._state.release()

    async def _main_ended(self) -> None:
        """Wait for the end of the main process, and stop the job at its timeout."""
        assert self._processes.main
        timer = None
        if (timeout := self._job.spec.timeout) is not None:
            # The loop has the same clock.
            ends = self._state.value.started_ns / 1e9 + timeout
            timer = self._context.loop.call_at(ends, self._time_out)
        await self._processes.main.ended()
        if timer:
            timer.cancel()

    async def _end_processes(self) -> int | None:
        """Kill leftover processes, read the last output and return the wait status of the main process.

        The main process is reaped when its process group is empty. Until then its PID cannot be reused.
        """
        if self._state.value.phase is not Phase.PREPARING:
            self._state.set(phase=Phase.ENDING)
        self._kill_timer.expect_effect()
        await self._resources.kill()
        self._kill_timer.close()  # after the reap the PID can belong to another process group
        wait_status = await self._processes.reap()
        await self._resources.finish_output()
        return wait_status
