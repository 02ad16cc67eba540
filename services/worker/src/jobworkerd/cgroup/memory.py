"""The memory limit: `memory.max` kills, `memory.high` slows down and reclaims a little before that."""

import mmap
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "memory"
LIMIT = "max_memory"


def is_set(limits: Limits) -> bool:
    """True if there is something to limit."""
    return limits.max_memory > 0


def apply(cgroup: Path, limits: Limits) -> AppliedLimit:
    """Sets the limit and returns what the kernel made of it.

    Raises:
        OSError: the kernel refused it.
    """
    wanted = limits.max_memory << 20
    high = wanted * 9 // 10 // mmap.PAGESIZE * mmap.PAGESIZE
    applied = files.set_and_read_back(cgroup, LIMIT, "memory.max", wanted)
    files.write(cgroup, "memory.high", str(high))
    # Without this a job under its limit would swap instead, at the expense of everybody's disk.
    if (cgroup / "memory.swap.max").exists():
        files.write(cgroup, "memory.swap.max", "0")
    # A job that lost one of its processes is of no use to anybody: all or none.
    files.write(cgroup, "memory.oom.group", "1")
    return applied


def stat(cgroup: Path) -> dict[str, int]:
    """Returns the peak (`memory.peak`, Linux 5.19) and the OOM kills, under the names of `Usage`."""
    found = {}
    if (peak := files.read_number(cgroup, "memory.peak")) is not None:
        found["memory_peak_bytes"] = peak
    events = files.read_keyed(cgroup, "memory.events")
    if "oom_kill" in events:
        found["oom_kill_count"] = events["oom_kill"]
    return found
