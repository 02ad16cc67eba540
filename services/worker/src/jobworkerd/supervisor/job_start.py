"""The start of a job: from its first resource until its command runs.

A supervisor that dies leaves the job to the next one, which continues with `resume`. A report of the spare
process stays in the socket until its effect is held.
"""

import errno
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from jobworkerd.model import Job, JobSpec, JobStatus, transition
from jobworkerd.spawn import accounts, exec_protocol, headroom, process
from jobworkerd.spawn.child_process import Process
from jobworkerd.spawn.exec_protocol import ExecRequest, Failed, Refused, Started
from jobworkerd.spawn.spare import Spare
from jobworkerd.spawn.users import User
from jobworkerd.supervisor import isolation_report
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_phase import Phase
from jobworkerd.supervisor.job_resources import JobResources
from jobworkerd.supervisor.job_state import HeldState
from jobworkerd.supervisor.limits import refuse_if_strict
from jobworkerd.supervisor.step_times import StepTimes


class JobStart:
    """The steps of the start. They change the state of the job and acquire its resources."""

    def __init__(
        self,
        state: HeldState,
        resources: JobResources,
        context: JobContext,
        io_paths: Sequence[Path],
        on_main: Callable[[], None],
    ) -> None:
        """`on_main` is called when the main process is known. It has not called execve(2) yet."""
        self._state = state
        self._resources = resources
        self._processes = resources.processes
        self._context = context
        self._io_paths = io_paths
        self._on_main = on_main
        self._steps = StepTimes()

    async def prepare(self, commit: Callable[[Job], Awaitable[None]]) -> None:
        """Acquire the job's resources and let its spare process execute the command."""
        state, resources = self._state, self._resources
        spec = state.job.spec
        spare = await resources.take_spare()
        await self._isolate(spare, resources.take_user())
        self._steps.done("spare_process")
        with headroom.reserved():
            resources.make_containment()
        applied = resources.containment.apply(spec.limits, self._io_paths)
        state.set(job=replace(state.job, applied_limits=applied))
        refuse_if_strict(spec.limits_policy, applied, state.job.applied_isolation)
        self._steps.done("cgroup")
        resources.open_log()
        weight = resources.containment.boost_cpu_weight()
        state.set(cpu_weight=weight, no_cgroup=resources.containment.no_cgroup)
        # Nothing runs before the holder has the state and the disk has the record.
        with headroom.reserved():
            held = [state.hold([spare.stdout, spare.stderr, spare.control.fileno()])]
            if resources.stdin:
                held.append(resources.stdin.hold())
        await commit(state.job)
        for each in held:
            await each
        self._steps.done("record")
        self._release()

    def _release(self) -> None:
        process.release(self._processes.control, self._resources.containment.directory_fd)

    async def _isolate(self, spare: Spare, user: User) -> None:
        """Send the `ExecRequest`, for which the spare process prepares itself, and record the isolation."""
        job = self._state.job
        wanted = self._context.isolation
        applied = isolation_report.applied(wanted, user, self._context.users.problem, job.spec, spare.refused)
        if self._context.scratch:
            applied = isolation_report.scratch_on_disk(applied)
        home = isolation_report.home_of(wanted, spare.refused)
        named = isolation_report.has_accounts(wanted, spare.refused)
        entries = accounts.entries(user, home, self._context.users.widest) if named else ()
        spec = replace(job.spec, working_directory=job.spec.working_directory or home or "/")
        request = process.exec_request(spec, user, home, entries, job.trace.context if job.trace else None)
        await self._send(spare, request, spec, user)
        self._state.set(
            job=replace(job, spec=spec, applied_isolation=applied),
            uid=user.uid,
            spare=spare.pid,
            init=spare.init.pid if spare.init else 0,
        )

    async def _send(self, spare: Spare, request: ExecRequest, spec: JobSpec, user: User) -> None:
        """Send the `ExecRequest` with the job's ends of its stdin and of its scratch."""
        descriptors: list[int] = []
        try:
            if (stdin := self._resources.open_stdin(spec, spare, user)) is not None:
                descriptors.append(stdin)
            if request.home and (scratch := await self._resources.make_scratch(spec)) is not None:
                descriptors.append(scratch)
                request = request._replace(scratch_on_disk=True)
            process.send(spare, request, descriptors)
        finally:
            for each in descriptors:
                os.close(each)

    def resume(self) -> None:
        """Continue the start of an adopted job, so that `execute` can follow.

        It is unknown whether the spare process was released. A second release has no effect.
        """
        with suppress(BlockingIOError):
            report = exec_protocol.peek(self._processes.control)
            if isinstance(report, Started):
                self._apply(report)
        if self._processes.main is None:
            with suppress(OSError):  # the spare process has ended; its last report is in the socket
                self._release()

    async def execute(self) -> None:
        """Wait until the main process runs the command."""
        main = await self._main_process()
        self._resources.containment.restore_cpu_weight()
        self._steps.done("exec")
        start = max(time.time_ns(), self._state.job.create_time_ns)
        trace = self._steps.added_to(self._state.job.trace)
        running = transition(
            self._state.job, JobStatus.RUNNING, start_time_ns=start, pid=main.pid, trace=trace
        )
        self._state.change(job=running, phase=Phase.RUNNING, started_ns=time.monotonic_ns(), spare=0)
        self._processes.discard_spare()
        self._processes.close_control_socket()

    async def _main_process(self) -> Process:
        """Return the main process when execve(2) has succeeded."""
        while isinstance(report := await self._processes.report(), Started | Refused):
            self._apply(report)
        if (main := self._processes.main) and report is None:
            return main
        if self._processes.init_has_ended():  # clone3(2) reports a lack of memory then
            raise OSError(errno.EAGAIN, "the init of the job's PID namespace was killed", "init")
        if isinstance(report, Failed):
            job = self._state.job
            private = isolation_report.has_private_directories(job.applied_isolation)
            raise process.error_of(job.spec, report, private=private)
        raise OSError(errno.EAGAIN, "the spare process was killed", "request")

    def _apply(self, report: Started | Refused) -> None:
        """Apply a report, and remove it from the socket when the state is held."""
        job = self._state.job
        if isinstance(report, Refused):
            parts = tuple(isolation_report.refuse(part, report.parts) for part in job.applied_isolation)
            self._state.change(job=replace(job, applied_isolation=parts))
        elif self._processes.main is None:
            self._processes.attach_main(report.pid)
            self._resources.containment.attach_main(report.pid)
            self._state.change(phase=Phase.EXECUTING, main=report.pid)
            self._on_main()
        self._processes.consume_report()
