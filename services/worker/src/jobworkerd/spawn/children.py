"""Signals to child processes, and waits for their ends."""

import os
import signal
import time
from contextlib import suppress

_END_SECONDS = 1.0
"""A killed process ends in milliseconds, unless the kernel holds it."""

_POLL_SECONDS = 0.0005
"""No wait has both a bound and no need for a descriptor, which an exhausted host may not have."""


def has_ended(pid: int) -> bool:
    """Tells whether a child that has not been reaped has ended."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(pid: int) -> None:
    """Kills a child and reaps it, however far its set-up is; see `_wait` for one that does not end."""
    os.kill(pid, signal.SIGKILL)
    _wait(pid)


def reap(leader: int) -> None:
    """Kills and reaps all children in a process group.

    A spare process may have forked the job's main process without having reported its PID. Nobody knows
    that PID yet, but the process is in the spare process's group.
    """
    os.killpg(leader, signal.SIGKILL)
    with suppress(ChildProcessError):
        while _wait(-leader):
            pass


def _wait(pid: int) -> bool:
    """Reaps a child that was killed; returns False if it has not ended in time.

    The kernel can hold a process that uses a frozen file system or a network file system without a server.
    Waiting for it would stop the server, so such a process stays until the server ends.
    """
    deadline = time.monotonic() + _END_SECONDS
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def signal_group(leader: int, number: int) -> None:
    """Signals a process group; the leader alone if it has just been forked and leads no group yet."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        os.kill(leader, number)
