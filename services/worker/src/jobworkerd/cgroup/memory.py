"""The memory limit: `memory.max` kills, `memory.high` slows down and reclaims a little before that."""

import mmap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from msgspec.structs import replace

from jobworkerd.cgroup import files
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "memory"
LIMIT = "max_memory"

SWAP_MAX = "memory.swap.max"

BESIDE: Mapping[str, str] = MappingProxyType({SWAP_MAX: "0", "memory.oom.group": "1"})
"""Files that belong to the limit, and their values.

Without the first, a job under its limit would swap instead, at the expense of every user of the disk. With
the second, the kernel kills all processes of a job or none: a job that lost one of them is of no use.
"""


def apply(cgroup: Path, limits: Limits) -> AppliedLimit:
    """Sets the limit and returns what the kernel made of it.

    Raises:
        OSError: the kernel refused it.
    """
    wanted = limits.max_memory << 20
    high = wanted * 9 // 10 // mmap.PAGESIZE * mmap.PAGESIZE
    applied = files.set_and_read_back(cgroup, LIMIT, "memory.max", wanted)
    beside = {"memory.high": str(high), **BESIDE}
    for file, value in beside.items():
        if file == SWAP_MAX and not (cgroup / file).exists():
            continue
        other = files.set_and_read_back(cgroup, LIMIT, file, value)
        if applied.in_force and not other.in_force:
            applied = replace(applied, in_force=False, reason=f"{file}: {other.reason}")
    return applied


def high_count(cgroup: Path) -> int:
    """Returns how often `memory.high` slowed the job."""
    return files.read_keyed(cgroup, "memory.events").get("high", 0)


def lift_high(cgroup: Path) -> None:
    """Lifts `memory.high`, which `apply` set.

    Raises:
        OSError: the kernel refused it.
    """
    files.write(cgroup, "memory.high", "max")


def stat(cgroup: Path) -> dict[str, int]:
    """Returns what it has, the peak (`memory.peak`, Linux 5.19) and the OOMs, under the names of `Usage`."""
    numbers = {"memory.current": "memory_current_bytes", "memory.peak": "memory_peak_bytes"}
    found = {ours: files.read_number(cgroup, theirs) for theirs, ours in numbers.items()}
    events = files.read_keyed(cgroup, "memory.events")
    # `oom` counts the times when the job was at its own limit, `oom_kill` kills for any limit or for none.
    counts = {"high": "memory_high_count", "oom": "oom_count", "oom_kill": "oom_kill_count"}
    found |= {ours: events.get(theirs) for theirs, ours in counts.items()}
    return {name: number for name, number in found.items() if number is not None}
