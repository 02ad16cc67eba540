"""The cgroup of the server's processes. It competes with all jobs together, not with each job.

The supervisor moves itself and the keeper there before they start other processes. So the API processes, the
fork server, the spare processes and the inits of the jobs' PID namespaces start there.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.base import SERVER, is_ours
from jobworkerd.cgroup.mounts import own_cgroup
from jobworkerd.cgroup.sweep import kill_all

CPU_WEIGHT = 1_000
"""Ten times the weight of all jobs together: the server runs at once, and a busy API leaves CPU time to
jobs.
"""

MEMORY_MIN = 256 << 20
"""More than the supervisor, the fork server and two API processes use. Unused memory is not reserved."""


def enter(base: Path, mount: Path, pids: Sequence[int]) -> Path:
    """Move processes of the server, and those in the base, to the server's cgroup.

    Returns the previous cgroup of this process.

    A cgroup that enables controllers for its children cannot have processes ("no internal process constraint"
    on the kernel's page).

    Raises:
        OSError: this user may not move the processes.
    """
    origin = mount / own_cgroup().lstrip("/")
    leaf = base / SERVER
    if is_ours(base) and leaf.exists() and origin != leaf:
        kill_all(leaf)  # processes of a server that was killed
        # Linux 6.18 kills each process that clone3(2) creates in another cgroup if the caller's cgroup was
        # killed before. A new cgroup was not. The removal fails while a killed process cannot end.
        with suppress(OSError):
            leaf.rmdir()
    leaf.mkdir(exist_ok=True)
    if not _belongs_to_service_manager(origin, base):
        for pid in pids:
            files.write(leaf, "cgroup.procs", str(pid))
    while found := files.read(base, "cgroup.procs").split():
        for each in found:
            with suppress(ProcessLookupError):
                files.write(leaf, "cgroup.procs", each)
    return origin


def _belongs_to_service_manager(origin: Path, base: Path) -> bool:
    """Return whether this is a systemd service with a base elsewhere.

    systemd finds the processes of a unit by their cgroup, and journald finds the unit of a log line the same
    way.
    """
    return origin.name.endswith(".service") and origin not in {base, *base.parents}


def protect(base: Path) -> str:
    """Set the server's CPU weight and protected memory if the controllers exist; return the error."""
    leaf = base / SERVER
    values = {leaf / "cpu.weight": CPU_WEIGHT, leaf / "memory.min": MEMORY_MIN}
    # The parent's value bounds the child's. A base that an administrator prepared stays unchanged.
    if is_ours(base):
        values[base / "memory.min"] = MEMORY_MIN
    try:
        for file, value in values.items():
            if file.exists():
                files.write(file.parent, file.name, str(value))
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return ""


def leave(base: Path, origin: Path, mount: Path, pids: Sequence[int]) -> None:
    """Move processes of the server back to its first cgroup and remove the server's cgroup.

    Processes that started in the base stay: the service manager removes the base.
    """
    leaf = base / SERVER
    with suppress(OSError):
        if origin not in {base, leaf} and all(_move(pid, (origin, mount)) for pid in pids):
            kill_all(leaf)  # discarded processes that have not ended yet
        leaf.rmdir()


def _move(pid: int, targets: Sequence[Path]) -> bool:
    """Move a process to the first cgroup that accepts it; return whether one did."""
    for target in targets:
        with suppress(OSError):
            files.write(target, "cgroup.procs", str(pid))
            return True
    return False
