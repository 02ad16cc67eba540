"""The cgroup of the server's own processes, which competes with all jobs together and not with each.

The supervisor moves itself there before it starts anything, so the API processes, the fork server, the
spare processes and the jobs' inits are born there.
"""

import os
from contextlib import suppress
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.base import SERVER, is_ours
from jobworkerd.cgroup.mounts import own_cgroup
from jobworkerd.cgroup.sweep import kill_all

CPU_WEIGHT = 1_000
"""Ten times that of all jobs together: enough to run at once, and a busy API leaves the jobs their share."""

MEMORY_MIN = 256 << 20
"""More than the supervisor, the fork server and two API processes need; it protects only what is in use."""


def enter(base: Path, mount: Path) -> Path:
    """Moves this process, and any that the base has, to the server's cgroup; returns where this one was.

    A cgroup with controllers for its children must have no processes of its own ("no internal process
    constraint" on the kernel's page).

    Raises:
        OSError: this user may not move them.
    """
    origin = mount / own_cgroup().lstrip("/")
    leaf = base / SERVER
    if is_ours(base) and leaf.exists() and origin != leaf:
        kill_all(leaf)  # what a server that was killed left: nothing else has been put there
    leaf.mkdir(exist_ok=True)
    if not _belongs_to_service_manager(origin, base):
        files.write(leaf, "cgroup.procs", str(os.getpid()))
    while pids := files.read(base, "cgroup.procs").split():
        for pid in pids:
            with suppress(ProcessLookupError):
                files.write(leaf, "cgroup.procs", pid)
    return origin


def _belongs_to_service_manager(origin: Path, base: Path) -> bool:
    """True in a systemd service with a base elsewhere: systemd finds a unit's processes, and journald the
    unit of a log line, by the cgroup.
    """
    return origin.name.endswith(".service") and origin not in {base, *base.parents}


def protect(base: Path) -> str:
    """Gives the server its weight and its memory, as far as there are controllers; returns why not."""
    leaf = base / SERVER
    values = {leaf / "cpu.weight": CPU_WEIGHT, leaf / "memory.min": MEMORY_MIN}
    if is_ours(base):  # a child's protection is bounded by its parent's; another's base is not ours to set
        values[base / "memory.min"] = MEMORY_MIN
    try:
        for file, value in values.items():
            if file.exists():
                files.write(file.parent, file.name, str(value))
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return ""


def leave(base: Path, origin: Path, mount: Path) -> None:
    """Moves this process back to where it was, so that its cgroup can be removed, and removes it.

    Where it was born in the base it stays: who made the base removes it with all that is in it.
    """
    leaf = base / SERVER
    if origin not in {base, leaf}:
        for target in (origin, mount):
            try:
                files.write(target, "cgroup.procs", str(os.getpid()))
            except OSError:
                continue
            break
    with suppress(OSError):
        leaf.rmdir()
