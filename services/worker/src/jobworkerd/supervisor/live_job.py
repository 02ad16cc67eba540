"""A job until it is final. Only this module writes a final status, so a stop and an exit cannot race."""

import errno
import signal
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path
from typing import Self

from msgspec.structs import replace

from jobworkerd.errors import LimitUnavailable
from jobworkerd.model import Job, JobStatus, LimitsUpdate, TerminationReason, Usage, transition
from jobworkerd.spawn import accounts, headroom, process
from jobworkerd.spawn.child_process import Process
from jobworkerd.spawn.exec_protocol import Failed, Refused, Started
from jobworkerd.spawn.readable import readable
from jobworkerd.spawn.spare import Spare
from jobworkerd.spawn.users import User
from jobworkerd.supervisor import isolation_report
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_phase import Phase
from jobworkerd.supervisor.job_resources import JobResources
from jobworkerd.supervisor.kill_timer import KillTimer, describe
from jobworkerd.supervisor.limits import changed, refuse_if_strict, restored
from jobworkerd.supervisor.outcome import FinalStats, StopRequest, outcome


class LiveJob:
    """The record of a job that is not final, and the operations that its phase allows."""

    def __init__(self, job: Job, context: JobContext, on_change: Callable[[str], None]) -> None:
        """Acquire nothing; see `start`."""
        self._job = job
        self._context = context
        self._on_change = on_change
        self._phase = Phase.PREPARING
        self._io_paths = [Path(job.spec.working_directory or "/"), *context.io_paths]
        self._resources = JobResources(job.id, context, partial(on_change, job.id))
        self._processes = self._resources.processes
        self._stop_request: StopRequest | None = None
        self._kill_timer = KillTimer(context.loop, self._kill, context.on_fault, self._kill_has_no_effect)
        self._started_ns = 0

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
        live = cls(job, context, on_change)
        on_create(live)
        try:
            await live._prepare(commit)
            await live._execute()
        except BaseException:
            await live._end_processes()
            await live._resources.release()
            raise
        on_change(job.id)
        return live

    async def _prepare(self, commit: Callable[[Job], Awaitable[None]]) -> None:
        """Acquire the job's resources and let its spare process execute the command."""
        spec, resources = self._job.spec, self._resources
        spare = await resources.take_spare()
        self._isolate(spare, resources.take_user())
        with headroom.reserved():
            resources.make_containment()
        applied = resources.containment.apply(spec.limits, self._io_paths)
        self._job = replace(self._job, applied_limits=applied)
        refuse_if_strict(spec.limits_policy, applied, self._job.applied_isolation)
        resources.open_log()
        await commit(self._job)
        resources.containment.boost_cpu_weight()
        process.release(spare, resources.containment.directory_fd)

    def _isolate(self, spare: Spare, user: User) -> None:
        """Send the `ExecRequest`, for which the spare process prepares itself, and record the isolation."""
        wanted, network = self._context.isolation, self._job.spec.network
        applied = isolation_report.applied(wanted, user, self._context.users.problem, network, spare.refused)
        home = isolation_report.home_of(wanted, spare.refused)
        named = isolation_report.has_accounts(wanted, spare.refused)
        entries = accounts.entries(user, home, self._context.users.widest) if named else ()
        spec = replace(self._job.spec, working_directory=self._job.spec.working_directory or home or "/")
        process.send(spare, spec, user, home, entries)
        self._job = replace(self._job, spec=spec, applied_isolation=applied)

    async def _execute(self) -> None:
        """Wait until the main process runs the command."""
        main = await self._main_process()
        self._resources.containment.restore_cpu_weight()
        self._started_ns = time.monotonic_ns()
        self._phase = Phase.RUNNING
        self._job = transition(self._job, JobStatus.RUNNING, start_time_ns=time.time_ns(), pid=main.pid)

    async def _main_process(self) -> Process:
        """Return the main process when execve(2) has succeeded."""
        report = await self._processes.report()
        if isinstance(report, Started):
            self._attach_main(report.pid)
            report = await self._processes.report()
        if isinstance(report, Refused):
            refused = report.parts
            parts = tuple(isolation_report.refuse(part, refused) for part in self._job.applied_isolation)
            self._job = replace(self._job, applied_isolation=parts)
            report = await self._processes.report()
        self._processes.discard_spare()
        if (main := self._processes.main) and report is None:
            self._processes.close_control_socket()
            return main
        if self._processes.init_has_ended():  # clone3(2) reports a lack of memory then
            raise OSError(errno.EAGAIN, "the init of the job's PID namespace was killed", "init")
        if isinstance(report, Failed):
            private = isolation_report.has_private_directories(self._job.applied_isolation)
            raise process.error_of(self._job.spec, report, private=private)
        raise OSError(errno.EAGAIN, "the spare process was killed", "request")

    def _attach_main(self, pid: int) -> None:
        """Take over the main process, and deliver the signal of a stop that was requested before."""
        self._processes.attach_main(pid)
        self._resources.containment.attach_main(pid)
        self._phase = Phase.EXECUTING
        if self._stop_request:
            self._processes.signal_main(
                signal.SIGKILL if self._kill_timer.due else self._job.spec.stop_signal
            )

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
        containment = self._resources.containment
        usage = replace(containment.usage(), wall_usec=self._wall_usec())
        return replace(job, usage=usage, applied_limits=containment.read_back(job.applied_limits))

    def _wall_usec(self) -> int | None:
        """Return the running time, which steps of the wall clock do not affect."""
        return (time.monotonic_ns() - self._started_ns) // 1_000 if self._started_ns else None

    def update(self, update: LimitsUpdate) -> Job:
        """Change limits of the running job and return the record.

        Raises:
            LimitUnavailable: the policy is strict and a limit cannot be enforced. No limit has changed.
            OSError: the host is exhausted. No limit has changed.
        """
        containment = self._resources.containment
        try:
            updated = changed(self._job, update, containment, self._io_paths)
            current = containment.read_back(updated.applied_limits)
        except (LimitUnavailable, OSError):
            self._restore(update.changes)
            raise
        self._job = updated
        return replace(self.snapshot(), applied_limits=current)

    def restore_limits(self) -> None:
        """Set all limits again after another program disabled their controllers.

        Raises:
            OSError: the host is exhausted.
        """
        self._restore(self._job.spec.limits.limiting)

    def _restore(self, names: Collection[str]) -> None:
        self._job = restored(self._job, names, self._resources.containment, self._io_paths)

    def memory_high_count(self) -> int:
        """Return how often `memory.high` throttled the job."""
        return self._resources.containment.memory_high_count()

    def lift_memory_high(self) -> None:
        """Lift `memory.high`, and report it in the record and in the server's log."""
        try:
            self._resources.containment.lift_memory_high()
        except OSError as error:
            self._context.on_fault("memory.high", error)
            return
        self._job = replace(self._job, memory_high_lift_time_ns=time.time_ns())
        self._context.warn(
            "memory.high lifted", job_id=self._job.id, max_memory=self._job.spec.limits.max_memory
        )

    def stop(self, request: StopRequest, grace_period: float) -> None:
        """Send the stop signal, and kill the job after the grace period (seconds).

        The first request counts; the shortest grace period of all requests counts. A command that has ended
        by itself keeps its own outcome.
        """
        if self._processes.main_has_ended():
            return
        if self._stop_request is None:
            self._stop_request = request
            if grace_period > 0:
                self._processes.signal_main(self._job.spec.stop_signal)
        self._kill_timer.kill_within(grace_period)

    def _time_out(self) -> None:
        self.stop(StopRequest(TerminationReason.TIMED_OUT), self._job.spec.stop_grace_period)

    def _kill(self) -> None:
        """Kill the job. In phase PREPARING, `_attach_main` kills it later.

        The supervisor cannot reap a process that is killed before its PID is known.
        """
        if self._phase is not Phase.PREPARING:
            self._resources.containment.kill()
            self._kill_timer.expect_effect()

    def _kill_has_no_effect(self) -> None:
        self._job = replace(self._job, kill_pending=True)
        processes = describe(self._resources.containment.pids)
        self._context.warn("kill has no effect", job_id=self._job.id, processes=processes)

    async def end(self) -> Job:
        """Wait until the started job has ended and return the final record.

        The order makes the final status true: no process, then no more output, then the last figures.
        """
        await self._main_ended()
        attempt, containment = self._context.attempt, self._resources.containment
        leftovers = await attempt("leftovers", containment.populated, failed=False)
        wait_status = await self._end_processes()
        assert wait_status is not None
        usage = await attempt("usage", containment.usage, failed=Usage())
        # Memory that is still charged to the cgroup is page cache, not memory of a process.
        usage = replace(usage, wall_usec=self._wall_usec(), memory_current_bytes=None)
        before = self._job.applied_limits
        limits = await attempt("limits", partial(containment.read_back, before), failed=before)
        self._resources.keep_log()
        await self._resources.release()
        return self._final(wait_status, FinalStats(usage, limits, leftovers))

    async def _main_ended(self) -> None:
        """Wait for the end of the main process, and stop the job at its timeout."""
        assert self._processes.main
        timeout = self._job.spec.timeout
        timer = self._context.loop.call_later(timeout, self._time_out) if timeout is not None else None
        await readable(self._processes.main.pidfd)
        if timer:
            timer.cancel()

    async def _end_processes(self) -> int | None:
        """Kill leftover processes, read the last output and return the wait status of the main process.

        The main process is reaped when its process group is empty. Until then its PID cannot be reused.
        """
        if self._phase is not Phase.PREPARING:
            self._phase = Phase.ENDING
        self._kill_timer.expect_effect()
        await self._resources.kill()
        self._kill_timer.close()  # after the reap the PID can belong to another process group
        wait_status = await self._processes.reap()
        await self._resources.finish_output()
        return wait_status

    def _final(self, wait_status: int, stats: FinalStats) -> Job:
        ended = outcome(self._job.spec, wait_status, self._stop_request, stats)
        return transition(
            self._job,
            ended.status,
            end_time_ns=max(time.time_ns(), self._job.start_time_ns or 0),
            pid=0,
            exit_code=ended.exit_code,
            termination=ended.termination,
            kill_pending=False,
            applied_limits=stats.limits,
            usage=stats.usage,
            log_size=self.log_size,
        )
