"""One job until it is final. Only this module writes a job's final status, so that a stop and a natural
exit cannot race.
"""

import errno
import signal
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from jobworkerd.cgroup.job_cgroup import JobCgroup, limits_set
from jobworkerd.cgroup.process_group import ProcessGroup
from jobworkerd.errors import LimitUnavailable
from jobworkerd.model import Job, JobStatus, LimitsUpdate, TerminationReason, Usage, transition
from jobworkerd.spawn import accounts, headroom, process
from jobworkerd.spawn.process import Process
from jobworkerd.spawn.readable import readable
from jobworkerd.spawn.spare import Spare
from jobworkerd.spawn.users import User
from jobworkerd.supervisor import isolation_report
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_resources import JobResources
from jobworkerd.supervisor.killing import Killing, describe
from jobworkerd.supervisor.limits import changed, refuse_if_strict, restored
from jobworkerd.supervisor.outcome import Intent, Remains, outcome


class LiveJob:
    """A job that is not final yet: its record, how it starts, and how it is stopped."""

    def __init__(self, job: Job, context: JobContext, on_change: Callable[[str], None]) -> None:
        """`on_change` is called with the job's id whenever it has more output or another status."""
        self._job = job
        self._context = context
        self._on_change = on_change
        self._io_paths = [Path(job.spec.working_directory or "/"), *context.io_paths]
        self._resources = JobResources(job.id, context, partial(on_change, job.id))
        self._processes = self._resources.processes
        self._intent: Intent | None = None
        self._killing = Killing(context.loop, self._kill, context.on_fault, self._kill_has_no_effect)
        self._started_ns: int | None = None

    @property
    def _containment(self) -> JobCgroup | ProcessGroup:
        return self._resources.containment

    async def _make(self) -> None:
        """Acquires the job's resources and releases its spare process."""
        spec, resources = self._job.spec, self._resources
        spare = await resources.take_spare()
        self._isolate(spare, resources.take_user())
        with headroom.kept():
            resources.make_containment()
        applied = self._containment.apply(spec.limits, self._io_paths)
        self._job = replace(self._job, limits_applied=applied)
        refuse_if_strict(spec.limits_policy, applied, self._job.isolation_applied)
        resources.open_log()
        self._containment.hurry()
        process.let_go(spare, self._containment.directory_fd)

    def _isolate(self, spare: Spare, user: User) -> None:
        """Records how the job is isolated, and sends the order, for which the process prepares itself."""
        wanted, network = self._context.isolation, self._job.spec.network
        applied = isolation_report.applied(wanted, user, self._context.users.problem, network, spare.refused)
        home = isolation_report.home_of(wanted, spare.refused)
        named = isolation_report.has_accounts(wanted, spare.refused)
        lines = accounts.lines(user, home, self._context.users.widest) if named else ()
        spec = replace(self._job.spec, working_directory=self._job.spec.working_directory or home or "/")
        process.give_order(spare, spec, user, home, lines)
        self._job = replace(self._job, spec=spec, isolation_applied=applied)

    def restore_limits(self) -> None:
        """Sets all limits again after another program disabled their controllers.

        Raises:
            OSError: the host is exhausted.
        """
        self._restore_limits(limits_set(self._job.spec.limits))

    def _restore_limits(self, names: Collection[str]) -> None:
        self._job = restored(self._job, names, self._containment, self._io_paths)

    @property
    def id(self) -> str:
        """The job's id."""
        return self._job.id

    def memory_high_count(self) -> int:
        """Returns how often `memory.high` slowed the job."""
        return self._containment.memory_high_count()

    def lift_memory_high(self) -> None:
        """Lifts `memory.high`, and reports it in the record and in the log."""
        try:
            self._containment.lift_memory_high()
        except OSError as error:
            self._context.on_fault("memory.high", error)
            return
        self._job = replace(self._job, memory_high_lift_time_ns=time.time_ns())
        self._context.warn(
            "memory.high lifted", job_id=self._job.id, max_memory=self._job.spec.limits.max_memory
        )

    @property
    def log_size(self) -> int:
        """The number of bytes in the log so far."""
        return self._resources.log_size

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
        """Changes limits of the running job and returns it.

        Raises:
            LimitUnavailable: the policy is strict and one of them is not in force. No limit has changed.
            OSError: the host is exhausted. No limit has changed.
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
        """Starts the job and returns it once the command runs; releases all resources on an error.

        Raises:
            LimitUnavailable: the policy is strict and a limit is not in force.
            CommandNotStarted: the command cannot be executed.
            OSError: another step failed, such as on an exhausted host.
        """
        try:
            await self._make()
            main = await self._start()
            self._containment.settle()
        except BaseException:
            await self._clean_up()
            await self._resources.release()
            raise
        self._started_ns = time.monotonic_ns()
        self._job = transition(self._job, JobStatus.RUNNING, start_time_ns=time.time_ns(), pid=main.pid)
        self._on_change(self._job.id)
        return self.snapshot()

    async def _start(self) -> Process:
        """Waits until the main process executes the command, and returns it."""
        report = await self._processes.report()
        if pid := process.started_pid(report):
            self._lead(pid)
            report = await self._processes.report()
        if refused := process.refused(report):
            parts = tuple(isolation_report.refuse(part, refused) for part in self._job.isolation_applied)
            self._job = replace(self._job, isolation_applied=parts)
            report = await self._processes.report()
        self._processes.reap_spare()
        private = isolation_report.has_private_directories(self._job.isolation_applied)
        failure = process.failure(self._job.spec, report, private=private)
        if (main := self._processes.main) and not failure:
            self._processes.close_orders()
            return main
        if self._processes.init_has_ended():  # clone3(2) blames the memory
            raise OSError(errno.EAGAIN, "the init of the job's PID namespace was killed", "init")
        raise failure or OSError(errno.EAGAIN, "the spare process was killed", "order")

    def _lead(self, pid: int) -> None:
        """Takes over the main process, and sends it the signal of a stop that was requested before."""
        self._processes.lead(pid)
        if isinstance(self._containment, ProcessGroup):
            self._containment.lead(pid)
        if self._intent:
            number = signal.SIGKILL if self._killing.due else self._job.spec.stop_signal
            self._processes.signal_main(number)

    async def end(self) -> Job:
        """Waits for the job's end and returns the final job; `run` has returned before.

        The order makes the final status true: no process, then no more output, then the last figures.
        """
        await self._main_ended()
        attempt = self._context.attempt
        leftovers = await attempt("leftovers", self._containment.populated, failed=False)
        wait_status = await self._clean_up()
        assert wait_status is not None
        usage = await attempt("usage", self._containment.usage, failed=Usage())
        # The memory that is left is page cache, which belongs to no process.
        usage = replace(usage, wall_usec=self._wall_usec(), memory_current_bytes=None)
        before = self._job.limits_applied
        limits = await attempt("limits", partial(self._containment.read_back, before), failed=before)
        ended = outcome(self._job.spec, wait_status, self._intent, Remains(usage, limits, leftovers))
        self._resources.keep_log()
        await self._resources.release()
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

    async def _main_ended(self) -> None:
        """Waits for the end of the main process, and stops the job at its timeout."""
        assert self._processes.main
        timeout = self._job.spec.timeout
        timer = self._context.loop.call_later(timeout, self._time_out) if timeout is not None else None
        await readable(self._processes.main.pidfd)
        if timer:
            timer.cancel()

    def stop(self, intent: Intent, grace_period: float) -> None:
        """Asks the command to end, and kills all of the job after the grace period (seconds).

        The first intent counts; a shorter grace period than an earlier one's counts, too. A command that
        has ended by itself is not touched: its own end is the truth.
        """
        if self._processes.main_has_ended():
            return
        if self._intent is None:
            self._intent = intent
            if grace_period > 0:
                self._processes.signal_main(self._job.spec.stop_signal)
        self._killing.within(grace_period)

    def _kill(self) -> None:
        """Kills all of the job; a job without a main process is killed as soon as it has one.

        A process that is killed before it has reported its PID could not be reaped.
        """
        if self._processes.main:
            self._containment.kill()
            self._killing.expect_effect()

    def _kill_has_no_effect(self) -> None:
        self._job = replace(self._job, kill_pending=True)
        self._context.warn(
            "kill has no effect", job_id=self._job.id, processes=describe(self._containment.pids)
        )

    def _time_out(self) -> None:
        self.stop(Intent(TerminationReason.TIMED_OUT), self._job.spec.stop_grace_period)

    async def _clean_up(self) -> int | None:
        """Ends what the job still runs, takes its last output and returns the main process's wait status.

        The main process is reaped when its process group is empty: until then its PID cannot be reused.
        """
        self._killing.expect_effect()
        await self._resources.kill()
        self._killing.close()  # once reaped, the number may be another process group's
        wait_status = await self._processes.reap()
        await self._resources.finish_output()
        return wait_status
