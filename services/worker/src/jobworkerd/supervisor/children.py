"""Signals to child processes, and waits for their ends."""

import os
import signal
from contextlib import suppress


def has_ended(pid: int) -> bool:
    """Tells whether a child that has not been reaped has ended."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(pid: int) -> None:
    """Kills a child and reaps it, however far its set-up is."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def reap(leader: int) -> None:
    """Kills and reaps all children in a process group.

    A spare process may have forked the job's main process without having reported its PID. Nobody knows
    that PID yet, but the process is in the spare process's group.
    """
    os.killpg(leader, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-leader, 0)


def signal_group(leader: int, number: int) -> None:
    """Signals a process group; the leader alone if it has just been forked and leads no group yet."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        os.kill(leader, number)
