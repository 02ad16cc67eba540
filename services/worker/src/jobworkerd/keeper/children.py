"""The children of the keeper: spawning, wait statuses, and the reaping of discarded children."""

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from jobworkerd.keeper.wire import FIRST_DESCRIPTOR, MAX_DESCRIPTORS

_MOVED_FD = FIRST_DESCRIPTOR + MAX_DESCRIPTORS
"""The descriptors of a child are moved up first, because one can have the number that another needs."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def spawn(
    argv: Sequence[str], descriptors: Sequence[int], environment: Mapping[str, str] | None = None
) -> int:
    """Start a child in its own process group and return its PID. The caller keeps the descriptors.

    Raises:
        OSError: the program cannot be executed, or the host is exhausted.
    """
    moved: list[int] = []
    try:
        for each in descriptors:
            moved.append(fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _MOVED_FD))  # noqa: PERF401 - closed on error
        actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        ]
        actions += [(os.POSIX_SPAWN_DUP2, fd, FIRST_DESCRIPTOR + number) for number, fd in enumerate(moved)]
        return os.posix_spawn(
            argv[0],
            list(argv),
            os.environ if environment is None else environment,
            file_actions=actions,
            setpgroup=0,
            setsigdef=_IGNORED_BY_PYTHON,
        )
    finally:
        for each in moved:
            os.close(each)


def wait_status(pid: int) -> int:
    """Return the wait status of a child that has ended, as waitpid(2) does. The child is not reaped.

    Raises:
        BlockingIOError: the child has not ended.
        ChildProcessError: this process has no such child.
    """
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if result is None:
        raise BlockingIOError(errno.EAGAIN, "the child has not ended")
    if result.si_code == os.CLD_EXITED:
        return result.si_status << 8
    return result.si_status | (0x80 if result.si_code == os.CLD_DUMPED else 0)


class Discarded:
    """Children that nothing needs any more. They are reaped when they end, which can take long."""

    def __init__(self) -> None:
        self.pending: dict[int, list[Callable[[], None]]] = {}

    def add(self, target: int, on_reaped: Callable[[], None] = lambda: None) -> None:
        """Kill a child, or the children in a process group if the number is negative."""
        if _exists(target):
            with suppress(ProcessLookupError):
                os.kill(target, signal.SIGKILL)
        self.pending.setdefault(target, []).append(on_reaped)
        self._reap_one(target)

    def reap(self) -> None:
        """Reap the children that have ended."""
        for target in list(self.pending):
            self._reap_one(target)

    def _reap_one(self, target: int) -> None:
        try:
            while True:
                pid, _ = os.waitpid(target, os.WNOHANG)
                if pid == 0:
                    return
                if target > 0:
                    break
        except ChildProcessError:
            pass
        for on_reaped in self.pending.pop(target):
            on_reaped()


def _exists(target: int) -> bool:
    """Return whether this process has such children, so that no other process is killed."""
    kind = os.P_PID if target > 0 else os.P_PGID
    try:
        os.waitid(kind, abs(target), os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
