"""The server's share of the CPU beside its jobs, on a host without the cpu controller of cgroup v2.

The scheduler of such a host shares the CPU between sessions first (sched(7), "The autogroup feature"). Each
job is a session, and weighs as much there as the whole server: their nice values do not matter.
"""

import os
from pathlib import Path

_NICE = -19

_FILE = Path("/proc/self/autogroup")


def raise_share(file: Path = _FILE) -> str:
    """Gives the server's session more of the CPU than its jobs have; returns why not, empty if it has.

    A session that the server shares, such as a user's shell, stays as it is.
    """
    if not file.exists():  # then nice values count, the jobs' are higher
        return ""
    if os.getsid(0) != os.getpid():
        return "the server shares its session with other programs; start it with systemd or setsid(1)"
    try:
        file.write_bytes(b"%d" % _NICE)
    except OSError as error:
        return f"{file} cannot be set to {_NICE} ({error.strerror}); start the server as root"
    return ""
