"""The first steps of a spare process: signals, process group, descriptors and resource limits."""

import fcntl
import functools
import os
import resource
import signal
from typing import NamedTuple, Self

from jobworkerd.spawn import exec_protocol
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.private_mounts import View

CONTROL_FD = 3
"""The descriptor of the control socket in a spare process."""

_UMASK = 0o022
_FIRST_FREE_FD = 4
_MOVED_FD = 16
_OOM_SCORE_ABOVE_SERVER = 100
_MAX_OOM_SCORE = 1000


class Setup(NamedTuple):
    """The settings that all spare processes share.

    `open_files` are the soft and the hard RLIMIT_NOFILE of jobs. `nice` is the supervisor's nice value.
    """

    open_files: tuple[int, int]
    nice: int
    isolation: Isolation

    def write(self) -> int:
        """Return the descriptor of a file that `read` reads. The caller closes it."""
        isolation = tuple(self.isolation._replace(view=tuple(self.isolation.view)))  # type: ignore[arg-type]
        return exec_protocol.write_values((self.open_files, self.nice, isolation))

    @classmethod
    def read(cls, file: int) -> Self:
        """Return the setup in a file."""
        open_files, nice, isolation_values = exec_protocol.read_values(file)
        isolation = Isolation(*isolation_values)  # type: ignore[misc]
        return cls(open_files, nice, isolation._replace(view=View(*isolation.view)))  # type: ignore[arg-type]


def set_up(fds: tuple[int, int, int, int], open_files: tuple[int, int]) -> None:
    """Give a new process everything that does not depend on the isolation.

    `fds` are stdin, stdout, stderr and the control socket, which becomes `CONTROL_FD`.
    """
    _reset_signals()
    # A process group, but not yet a session. The scheduler can give each session the same share of the CPU
    # (sched(7), autogroup), and no client waits for the preparation.
    os.setpgid(0, 0)
    os.umask(_UMASK)
    _raise_oom_score()
    _place_descriptors(fds)
    resource.setrlimit(resource.RLIMIT_NOFILE, open_files)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@functools.cache
def signals_to_reset() -> tuple[int, ...]:
    """Return the signals whose disposition is not the default. The first call is slow."""
    numbers = (int(number) for number in signal.valid_signals())
    return tuple(number for number in numbers if signal.getsignal(number) not in (signal.SIG_DFL, None))


def _reset_signals() -> None:
    # execve(2) resets handlers, but keeps the signals ignored that Python ignores (SIGPIPE, SIGXFSZ).
    for number in signals_to_reset():
        # SIGPIPE stays ignored until execve: a report to a dead supervisor must raise an error.
        if number != signal.SIGPIPE:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _raise_oom_score() -> None:
    """Make the OOM killer prefer jobs to the server (oom_score_adj, proc(5))."""
    with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:  # noqa: PTH123 - the child of a fork
        server = max(int(file.read()), 0)
        file.write(b"%d" % min(server + _OOM_SCORE_ABOVE_SERVER, _MAX_OOM_SCORE))


def _place_descriptors(fds: tuple[int, int, int, int]) -> None:
    """Move the descriptors to 0 to 3 and close all others. execve(2) closes the control socket."""
    # Move them up first, because the number of one can be the target of another.
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _MOVED_FD) for fd in fds]
    for target, fd in enumerate(moved):
        os.dup2(fd, target, inheritable=target < CONTROL_FD)
    os.closerange(_FIRST_FREE_FD, os.sysconf("SC_OPEN_MAX"))
