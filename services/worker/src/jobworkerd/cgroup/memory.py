"""The memory limit: `memory.max` kills; `memory.high` throttles and reclaims slightly before that."""

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from msgspec.structs import replace

from jobworkerd.cgroup import files
from jobworkerd.cgroup.limit import Limit
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "memory"

SWAP_MAX = "memory.swap.max"

_COMPANIONS: Mapping[str, str] = MappingProxyType({SWAP_MAX: "0", "memory.oom.group": "1"})
"""Without the first file, a job at its limit would swap and slow down all users of the disk. With the second,
the kernel kills all processes of a job or none: a job without one of its processes is useless.
"""


def _set_max_memory(cgroup: Path, limits: Limits, _io_paths: Sequence[Path]) -> AppliedLimit:
    wanted = limits.max_memory << 20
    high = wanted * 9 // 10 // mmap.PAGESIZE * mmap.PAGESIZE
    applied = files.set_and_read_back(cgroup, MAX_MEMORY.name, "memory.max", wanted)
    companions = {"memory.high": str(high), **_COMPANIONS}
    for file, value in companions.items():
        if file == SWAP_MAX and not (cgroup / file).exists():
            continue
        other = files.set_and_read_back(cgroup, MAX_MEMORY.name, file, value)
        if applied.in_force and not other.in_force:
            applied = replace(applied, in_force=False, reason=f"{file}: {other.reason}")
    return applied


MAX_MEMORY = Limit("max_memory", CONTROLLER, _set_max_memory, companions=_COMPANIONS)
LIMITS = (MAX_MEMORY,)


def high_count(cgroup: Path) -> int:
    """Return how often `memory.high` throttled the job."""
    return files.read_keyed(cgroup, "memory.events").get("high", 0)


def lift_high(cgroup: Path) -> None:
    """Lift `memory.high`, which is part of the memory limit.

    Raises:
        OSError: the kernel refused the value.
    """
    files.write(cgroup, "memory.high", "max")


def stat(cgroup: Path) -> dict[str, int]:
    """Return current and peak memory (`memory.peak`, Linux 5.19) and OOM events as fields of `Usage`."""
    numbers = {"memory.current": "memory_current_bytes", "memory.peak": "memory_peak_bytes"}
    found = {ours: files.read_number(cgroup, theirs) for theirs, ours in numbers.items()}
    events = files.read_keyed(cgroup, "memory.events")
    # `oom` counts how often the job reached its own limit, `oom_kill` counts kills for any reason.
    counts = {"high": "memory_high_count", "oom": "oom_count", "oom_kill": "oom_kill_count"}
    found |= {ours: events.get(theirs) for theirs, ours in counts.items()}
    return {name: number for name, number in found.items() if number is not None}
