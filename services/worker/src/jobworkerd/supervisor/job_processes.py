"""The processes of one job."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress

from jobworkerd.spawn import exec_protocol
from jobworkerd.spawn.child_process import Process
from jobworkerd.spawn.exec_protocol import Report, Started
from jobworkerd.spawn.parent import Parent
from jobworkerd.spawn.readable import readable
from jobworkerd.spawn.spare import Spare


class JobProcesses:
    """The owner of a job's spare process, its main process and the init of its PID namespace."""

    def __init__(self, parent: Parent, on_release: ExitStack) -> None:
        """`on_release` is closed when the job releases its resources."""
        self.main: Process | None = None
        self._init: Process | None = None
        self._spare_pid = 0
        self._parent = parent
        self._on_release = on_release.callback

    def take(self, spare: Spare) -> None:
        """Take over the spare process, its control socket and its init."""
        self.control = spare.control
        self._on_release(spare.control.close)
        self._spare_pid = spare.pid
        self._on_release(self.discard_spare)
        self._init = spare.init
        self._on_release(self._discard_init)

    def attach_init(self, pid: int) -> None:
        """Take over the init of an adopted job.

        Raises:
            OSError: the init does not exist any more, or the host is exhausted.
        """
        self._init = Process.of(pid)

    def attach_reaped(self, pid: int) -> None:
        """Take over the main process, which an earlier supervisor has reaped."""
        self.main = Process(pid, None)

    async def report(self) -> Report | None:
        """Return the next report of the spare process or the main process; None after the last report.

        The report stays in the socket until `consume_report`.
        """
        await readable(self.control.fileno())
        return exec_protocol.peek(self.control)

    def consume_report(self) -> None:
        """Remove the report from the socket that `report` returned."""
        exec_protocol.receive(self.control)

    def attach_main(self, pid: int) -> Process:
        """Take over the main process, which the spare process has forked, and return it.

        Raises:
            OSError: the host is exhausted. The process has been killed.
        """
        try:
            self.main = Process.of(pid)
        except OSError:
            self._parent.discard(pid)
            raise
        self._on_release(self.main.close)
        return self.main

    def close_control_socket(self) -> None:
        """Close the control socket. The command runs."""
        self.control.close()

    def init_has_ended(self) -> bool:
        """Return whether the init of the PID namespace was killed. It never ends by itself."""
        return self._init is not None and self._init.has_ended()

    def main_has_ended(self) -> bool:
        """Return whether the main process has ended."""
        return self.main is not None and self.main.has_ended()

    def has_group(self, group: int, pids: Callable[[], Iterable[int]]) -> bool:
        """Return whether a process group is of the job. `pids` returns the processes of the job.

        After the end of a group, the kernel can give its number to a group of another program.
        """
        with suppress(ProcessLookupError):  # the leader can end before its group
            if self.main and os.getsid(group) == self.main.pid:
                return True
        return any(_is_member(pid, group) for pid in pids())

    def signal_main(self, number: int) -> None:
        """Signal the main process's group, and continue stopped processes so that they handle it."""
        if self.main:
            for each in (number, signal.SIGCONT):
                self.main.signal_group(each)

    def kill_init(self) -> None:
        """Kill the init. The kernel then kills all processes of its PID namespace."""
        if self._init:
            os.kill(self._init.pid, signal.SIGKILL)

    async def reap(self) -> int | None:
        """Reap the main process and wait for the end of the init.

        Returns the wait status of the main process, which has ended; None without a main process.
        """
        # The end of a PID namespace waits for the reap of each process.
        wait_status = await self._parent.reap(self.main.pid) if self.main else None
        if self._init:
            self.discard_spare()
            await self._init.ended()
        return wait_status

    def discard_spare(self) -> None:
        """End the spare process; do nothing on a second call.

        A spare process can have forked the main process without having reported its PID. The main process is
        then still in the spare process's group. A reported one is reaped by its PID.
        """
        if self._spare_pid:
            self._parent.discard(self._spare_pid, group=self.main is None)
            self._spare_pid = 0
            if self.main is None:
                self._discard_reported()

    def _discard_reported(self) -> None:
        """Discard a main process that has reported its PID and left the spare process's group."""
        with suppress(BlockingIOError):
            report = exec_protocol.receive(self.control)
            if isinstance(report, Started):
                self._parent.discard(report.pid)

    def _discard_init(self) -> None:
        if self._init:
            self._parent.discard(self._init.pid)
            self._init.close()
            self._init = None


def _is_member(pid: int, group: int) -> bool:
    with suppress(ProcessLookupError):
        return os.getpgid(pid) == group
    return False
