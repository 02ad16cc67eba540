"""Signals, kills and reaps child processes."""

import os
import signal
import time
from contextlib import suppress

_END_SECONDS = 1.0
"""A killed process ends in milliseconds, unless the kernel holds it."""

_POLL_SECONDS = 0.0005
"""Polling needs no descriptor. A wait with a timeout would need one, which an exhausted host may lack."""


def has_ended(pid: int) -> bool:
    """Return whether a child has ended. The child must not have been reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(pid: int) -> None:
    """Kill and reap a child in any phase of its preparation; see `_wait` for a child that does not end."""
    os.kill(pid, signal.SIGKILL)
    _wait(pid)


def reap(leader: int) -> None:
    """Kill and reap all children in a process group.

    A spare process can have forked the job's main process without having reported its PID. The supervisor
    does not know that PID yet, but the process is in the spare process's group.
    """
    os.killpg(leader, signal.SIGKILL)
    with suppress(ChildProcessError):
        while _wait(-leader):
            pass


def _wait(pid: int) -> bool:
    """Reap a killed child; return False if it does not end in time.

    The kernel can hold a process that uses a frozen file system, or a network file system without a server.
    Waiting for it would block the supervisor, so such a process stays until the supervisor ends.
    """
    deadline = time.monotonic() + _END_SECONDS
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def signal_group(leader: int, number: int) -> None:
    """Signal a process group, or only the leader if it has not created its group yet."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        os.kill(leader, number)
