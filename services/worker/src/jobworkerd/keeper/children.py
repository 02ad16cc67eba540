"""The child processes of the keeper: it starts, kills and reaps them as a supervisor requests."""

import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from jobworkerd.keeper.inheritance import set_inheritable

_NONE: Mapping[str, str] = MappingProxyType({})
_PARENT, _GROUP, _START_TIME = 1, 2, 19
"""Indexes of `ppid`, `pgrp` and `starttime` after the command's name in /proc/PID/stat (proc(5))."""


class Children:
    """The discarded children, which are reaped whenever they end."""

    def __init__(self, discarded: Iterable[int] = ()) -> None:
        self.discarded = {*discarded}
        """PIDs, and negative numbers for process groups, as waitpid(2) takes them."""

    def spawn(
        self, argv: Sequence[str], descriptors: Sequence[int], variables: Mapping[str, str] = _NONE
    ) -> int:
        """Start a child in its own process group and return its PID.

        `{0}` in `argv` and in the additional environment `variables` stands for the number of the first
        descriptor in the child, `{1}` for the second.

        Raises:
            OSError: the host is exhausted, or the file cannot be executed.
        """
        command = [each.format(*descriptors) for each in argv]
        environ = os.environ | {name: value.format(*descriptors) for name, value in variables.items()}
        null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        # POSIX_SPAWN_DUP2 would not accept the reserved descriptors, which are above the soft limit.
        set_inheritable(descriptors, inheritable=True)
        try:
            return os.posix_spawn(command[0], command, environ, file_actions=[null], setpgroup=0)
        finally:
            set_inheritable(descriptors, inheritable=False)

    def reap(self, pid: int) -> int:
        """Reap a child that has ended and return its wait status.

        Raises:
            BlockingIOError: the child has not ended.
            ChildProcessError: this process has no such child.
        """
        reaped, status = os.waitpid(pid, os.WNOHANG)
        if not reaped:
            raise BlockingIOError
        return status

    def discard(self, pid: int, *, group: bool) -> None:
        """Kill a child, and the process group that it leads, and reap them whenever they end."""
        try:
            # A PID that is not reaped cannot belong to another process.
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if group:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            self.discarded.add(-pid)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        self.discarded.add(pid)
        self.reap_discarded()

    def discard_others(self, kept: Iterable[int], before: int) -> None:
        """Discard all children that started before a time (see `start_time`), except those in `kept`.

        A job's main process is still in the process group of its spare process until it reports its PID. It
        is kept with the spare process.
        """
        keep = {*kept}
        for pid, group, started in _children():
            if not keep & {pid, group} and started < before:
                self.discard(pid, group=False)

    def reap_discarded(self) -> None:
        """Reap the discarded children that have ended."""
        # Groups first: a leader that was reaped as a single process would leave its group unnoticed.
        for target in sorted(self.discarded):
            try:
                while os.waitpid(target, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                self.discarded.discard(target)


def now() -> int:
    """Return the time as `start_time` counts it."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def start_time(pid: int) -> int:
    """Return the start time of a process in clock ticks since the boot.

    Raises:
        OSError: the process does not exist.
    """
    return int(_stat(pid)[_START_TIME])


def _children() -> list[tuple[int, int, int]]:
    """Return the PIDs, process groups and start times of all children."""
    found, own = [], str(os.getpid())
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would take memory
        if name.isdecimal():
            with suppress(OSError):
                fields = _stat(int(name))
                if fields[_PARENT] == own:
                    found.append((int(name), int(fields[_GROUP]), int(fields[_START_TIME])))
    return found


def _stat(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - as above
        # The command's name, in parentheses, can contain any character.
        return file.read().rpartition(")")[2].split()
