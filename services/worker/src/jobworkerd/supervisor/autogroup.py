"""Raises the server's share of the CPU on a host without the cpu controller of cgroup v2.

The scheduler of such a host divides the CPU between sessions (sched(7), "The autogroup feature"). Each job is
a session with the same weight as the whole server, and nice values have no effect between sessions.
"""

import os
from pathlib import Path

_NICE = -19

_FILE = Path("/proc/self/autogroup")


def raise_share(file: Path = _FILE) -> str:
    """Give the server's session a higher weight than those of jobs. Return the error; empty on success.

    A session that the server shares with other programs, such as a shell, is not changed.
    """
    if not file.exists():  # nice values have an effect then, and those of jobs are higher
        return ""
    if os.getsid(0) not in {os.getpid(), os.getppid()}:  # the keeper leads the session
        return "the server shares its session with other programs; start it with systemd or setsid(1)"
    try:
        file.write_bytes(b"%d" % _NICE)
    except OSError as error:
        return f"{file} cannot be set to {_NICE} ({error.strerror}); start the server as root"
    return ""
