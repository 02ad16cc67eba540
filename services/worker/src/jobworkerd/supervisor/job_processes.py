"""The processes of one job. They are children of the supervisor until they are reaped."""

import os
import signal
from contextlib import ExitStack

from jobworkerd.spawn import children, exec_protocol
from jobworkerd.spawn.exec_protocol import Report
from jobworkerd.spawn.process import Process
from jobworkerd.spawn.readable import readable
from jobworkerd.spawn.spare import Spare


class JobProcesses:
    """The owner of a job's spare process, its main process and the init of its PID namespace."""

    def __init__(self, on_release: ExitStack) -> None:
        """`on_release` is closed when the job releases its resources."""
        self.main: Process | None = None
        self._init: Process | None = None
        self._on_release = on_release.callback

    def take(self, spare: Spare) -> None:
        """Take over the spare process, its control socket and its init.

        Raises:
            OSError: the host is exhausted.
        """
        self._control = spare.control
        self._on_release(spare.control.close)
        self._spare_pid: int | None = spare.pid
        self._on_release(self.reap_spare)
        if spare.init:
            self._init = Process.of(spare.init)
            self._on_release(self._end_init)

    async def report(self) -> Report | None:
        """Return the next report of the spare process or the main process; None after the last report."""
        await readable(self._control.fileno())
        return exec_protocol.receive(self._control)

    def attach_main(self, pid: int) -> Process:
        """Take over the main process, which the spare process has forked, and return it.

        Raises:
            OSError: the host is exhausted. The process has been killed.
        """
        self.main = Process.of(pid)
        self._on_release(os.close, self.main.pidfd)
        return self.main

    def close_control_socket(self) -> None:
        """Close the control socket. The command runs."""
        self._control.close()

    def init_has_ended(self) -> bool:
        """Return whether the init of the PID namespace was killed. It never ends by itself."""
        return self._init is not None and self._init.has_ended()

    def main_has_ended(self) -> bool:
        """Return whether the main process has ended."""
        return self.main is not None and self.main.has_ended()

    def signal_main(self, number: int) -> None:
        """Signal the main process's group, and continue stopped processes so that they handle it."""
        if self.main:
            for each in (number, signal.SIGCONT):
                children.signal_group(self.main.pid, each)

    def kill_init(self) -> None:
        """Kill the init. The kernel then kills all processes of its PID namespace."""
        if self._init:
            os.kill(self._init.pid, signal.SIGKILL)

    async def reap(self) -> int | None:
        """Reap the main process and wait for the end of the init.

        Returns the wait status of the main process, which has ended; None without a main process.
        """
        # This does not block: the process has ended. The end of a PID namespace waits for this reap.
        wait_status = os.waitpid(self.main.pid, 0)[1] if self.main else None  # noqa: ASYNC222
        if self._init:
            self.reap_spare()  # the end of a PID namespace waits for each reap
            await readable(self._init.pidfd)
        return wait_status

    def reap_spare(self) -> None:
        """Kill and reap the spare process; do nothing on a second call."""
        if self._spare_pid is None:
            return
        if self.main:  # it can still be in the group of the spare process, and is reaped by PID
            children.end(self._spare_pid)
        else:
            children.reap(self._spare_pid)
        self._spare_pid = None

    def _end_init(self) -> None:
        if self._init:
            children.reap(self._init.pid)
            os.close(self._init.pidfd)
            self._init = None
