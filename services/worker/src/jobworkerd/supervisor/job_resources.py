"""The resources that one job holds on the host."""

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

from msgspec.structs import replace

from jobworkerd.cgroup.containment import Containment
from jobworkerd.cgroup.job_cgroup import JobCgroup
from jobworkerd.cgroup.process_group import ProcessGroup
from jobworkerd.errors import HostExhausted
from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.limit_bounds import MIB
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import JobSpec, OutputSource, Stdin, Usage
from jobworkerd.spawn import headroom
from jobworkerd.spawn.spare import Spare
from jobworkerd.spawn.users import User
from jobworkerd.supervisor.holder import HeldJob
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_input import JobInput
from jobworkerd.supervisor.job_processes import JobProcesses
from jobworkerd.supervisor.job_state import JobState
from jobworkerd.supervisor.job_terminal import DRAIN_STEPS, JobTerminal, Size
from jobworkerd.supervisor.pump import Pump

_REMOVED = "another program removed the job's cgroup"


class JobResources:
    """The owner of a job's cgroup, processes, pipes, open log, user and scratch, until `release`."""

    def __init__(
        self,
        job_id: str,
        context: JobContext,
        on_output: Callable[[], None],
        on_resize: Callable[[Size], None],
    ) -> None:
        """Acquire nothing yet. `on_output` is called whenever the log grows, and `on_resize` with a new size
        of the terminal before it applies.
        """
        self._job_id = job_id
        self._context = context
        self._on_output = on_output
        self._on_resize = on_resize
        self._on_release = ExitStack()
        self.processes = JobProcesses(context.parent, self._on_release)
        self.containment = self._containment()
        self._log: LogWriter | None = None
        self._keep_log = False
        self.stdin: JobInput | None = None
        """The stdin that clients feed; None if the job reads /dev/null."""

    @property
    def log_size(self) -> int:
        """The current size of the log in bytes."""
        return self._log.size if self._log else 0

    async def take_spare(self) -> Spare:
        """Take a spare process and its pipes.

        Raises:
            OSError: the host is exhausted.
        """
        spare = await self._context.spare_pool.take()
        self._take(spare)
        return spare

    def _take(self, spare: Spare) -> None:
        pipes = {OutputSource.STDOUT: spare.stdout, OutputSource.STDERR: spare.stderr}
        self._pump = Pump(self._context.loop, pipes, self._context.read_buffer, self._on_output)
        self._on_release.callback(self._pump.close)
        self.processes.take(spare)

    def take_user(self) -> User:
        """Take a user. With dynamic users, no other job has the same one."""
        user = self._context.users.take()
        self._on_release.callback(self._context.users.release, user)
        return user

    def open_stdin(self, spec: JobSpec, spare: Spare, user: User) -> int | None:
        """Create the stdin or the terminal; return the job's end, which the caller closes.

        Return None for /dev/null. The user owns the job's end so that the job can open /dev/stdin or its tty.

        Raises:
            OSError: the host is exhausted.
        """
        with headroom.reserved():
            stdin = self._make_stdin(spec)
            if stdin is None:
                return None
            if isinstance(stdin, JobTerminal) and spec.terminal:
                stdin.open_terminal(spare.pid, spec.terminal)
                stdin.relay_to(spare.stdout, self._pump.copy_terminal)
                end = stdin.open_slave()
            else:
                end = stdin.open()
        try:
            if user.identity:
                os.fchown(end, user.identity.uid, user.identity.gid)
        except OSError:
            os.close(end)
            raise
        return end

    async def make_scratch(self, spec: JobSpec) -> int | None:
        """Create the private directories on disk; return their mount, which the caller closes.

        Return None if they are in memory.

        Raises:
            HostExhausted: the disk is full or failed, or the host is exhausted.
        """
        if self._context.scratch is None:
            return None
        self._own_scratch()
        try:
            return await self._context.scratch.create(self._job_id, spec.max_scratch * MIB)
        except OSError as error:
            raise HostExhausted(f"the scratch of the job cannot be created: {error.strerror}") from error

    def usage(self) -> Usage:
        """Return the usage of the job so far.

        Raises:
            OSError: the host is exhausted.
        """
        usage = self.containment.usage()
        if self._context.scratch is None:
            return usage
        try:
            scratch_bytes = self._context.scratch.used_bytes(self._job_id)
        except OSError as error:  # the kernel refused private directories, or the disk failed
            if is_exhaustion(error):
                raise
            return usage
        return replace(usage, scratch_bytes=scratch_bytes)

    def _own_scratch(self) -> None:
        if self._context.scratch:
            self._on_release.callback(self._context.scratch.discard, self._job_id)

    def _make_stdin(self, spec: JobSpec) -> JobInput | None:
        if spec.stdin is Stdin.NONE and not spec.terminal:
            return None
        context = self._context
        if spec.terminal:
            self.stdin = JobTerminal(self._job_id, context.loop, context.holder, self._on_resize)
        else:
            self.stdin = JobInput(self._job_id, context.loop, context.holder, spec.stdin)
        self._on_release.callback(self.stdin.close)
        return self.stdin

    def _adopt_stdin(self, spec: JobSpec, held: HeldJob) -> None:
        stdin = self._make_stdin(spec)
        if stdin and held.stdin:
            stdin.adopt(held.stdin)
            if isinstance(stdin, JobTerminal):
                stdin.relay_to(held.descriptors[0], self._pump.copy_terminal)

    def adopt(self, state: JobState, held: HeldJob) -> None:
        """Take over everything that an earlier supervisor had, instead of acquiring it.

        A running job continues without its cgroup if another program has removed it. A command does not start
        without the cgroup, because it would run without limits.

        Raises:
            OSError: a part does not exist any more, or the host is exhausted.
        """
        stdout, stderr, control = held.descriptors
        self._take(Spare(state.spare, stdout, stderr, _control_socket(control)))
        self._adopt_stdin(state.job.spec, held)
        user = self._context.users.claim(state.uid)
        self._on_release.callback(self._context.users.release, user)
        self._own_scratch()
        if state.init:
            self.processes.attach_init(state.init)
        if state.no_cgroup:
            self.containment = ProcessGroup(state.no_cgroup, self._context.group_scan)
        try:
            self.containment.adopt(state.cpu_weight)
        except FileNotFoundError:
            if not state.main:
                raise
            self.containment.remove()
            self.containment = ProcessGroup(_REMOVED, self._context.group_scan)
        if state.main in held.statuses:
            self.processes.attach_reaped(state.main)
        elif state.main:
            self.processes.attach_main(state.main)
            self.containment.attach_main(state.main)
        self._start_pump(self._context.logs.resume(self._job_id))

    async def remove_cgroup(self) -> None:
        """Remove the cgroup of a final job of an earlier supervisor, if it is left."""
        with suppress(FileNotFoundError):
            self.containment.adopt("")
        await self.release()

    def make_containment(self) -> None:
        """Create the cgroup. Fall back to a process group if the base was removed and cannot be repaired.

        Raises:
            OSError: the cgroup cannot be created.
        """
        hierarchy = self._context.hierarchy
        hierarchy.repair()
        try:
            self.containment.make()
        except OSError as error:
            if is_exhaustion(error) or not hierarchy.problem:
                raise
            self.containment.remove()
            self.containment = ProcessGroup(hierarchy.problem, self._context.group_scan)

    def open_log(self) -> None:
        """Open the log and start to copy the job's output into it.

        Raises:
            OSError: the host is exhausted.
        """
        with headroom.reserved():
            log = self._context.logs.open(self._job_id)
        self._start_pump(log)

    def _start_pump(self, log: LogWriter) -> None:
        self._log = log
        self._on_release.callback(self._release_log)
        self._pump.start(log)

    def keep_log(self) -> None:
        """Make `release` keep the log. Without this call `release` discards it."""
        self._keep_log = True

    async def kill(self) -> None:
        """Kill all processes of the job, and return when its process group is empty."""
        self.processes.kill_init()
        await self.containment.kill_all()
        if self.processes.main:
            await self.processes.main.ended()

    async def has_leftovers(self) -> bool:
        """Return whether the main process, which has ended, has left processes."""
        try:
            return await self.containment.populated()
        except OSError as error:
            self._context.on_fault("leftovers", error)
            return False

    async def finish_output(self) -> None:
        """Read the last output. No process of the job is left."""
        if self._log:
            if isinstance(self.stdin, JobTerminal):
                await self._context.attempt("terminal", partial(self._drain, self.stdin), failed=None)
            await self._context.attempt("output", self._pump.finish, failed=None)

    def _drain(self, terminal: JobTerminal) -> None:
        """Move the last output of a terminal into the log."""
        self._pump.drain()
        for _ in range(DRAIN_STEPS):
            if not terminal.move():
                return
            self._pump.drain()

    async def release(self) -> None:
        """Release all resources. No process of the job is left."""
        await self._context.attempt("cgroup", self.containment.remove, failed=None)
        self._on_release.close()

    def _containment(self) -> Containment:
        hierarchy = self._context.hierarchy
        if hierarchy.base is None:
            return ProcessGroup(hierarchy.no_base, self._context.group_scan)
        return JobCgroup(hierarchy.jobs / self._job_id, hierarchy, self._context.watcher)

    def _release_log(self) -> None:
        if self._keep_log:
            self._context.logs.end(self._job_id)
        else:
            self._context.logs.discard(self._job_id)


def _control_socket(descriptor: int) -> socket.socket:
    control = socket.socket(fileno=descriptor)
    control.setblocking(False)  # noqa: FBT003 - it takes no keyword
    return control
