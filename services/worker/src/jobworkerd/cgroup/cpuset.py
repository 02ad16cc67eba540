"""The cores that a job may use: `cpuset.cpus`."""

from collections.abc import Sequence
from pathlib import Path

from jobworkerd import cores
from jobworkerd.cgroup import files
from jobworkerd.cgroup.limit import Limit
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "cpuset"

_EFFECTIVE = "cpuset.cpus.effective"


def _set_cores(cgroup: Path, limits: Limits, _io_paths: Sequence[Path]) -> AppliedLimit:
    """Set the cores; an empty set means all cores.

    The kernel accepts cores that a cgroup cannot have, and then runs it on other cores. So the set is reduced
    to the available cores first. `cpuset.cpus.effective` shows the cores that the job uses.
    """
    available = files.read(cgroup.parent, _EFFECTIVE)
    requested = cores.parse(limits.cpu_set)
    usable = requested & cores.parse(available)
    # A line without cores means all cores. The kernel does not see a write of no bytes at all.
    files.write(cgroup, "cpuset.cpus", cores.to_text(usable) + "\n")
    value = files.read(cgroup, _EFFECTIVE)
    reason = _reason(requested, usable, value, available)
    return AppliedLimit(
        limit=CPU_SET.name, in_force=not reason, file="cpuset.cpus", value=value, reason=reason
    )


def _reason(requested: frozenset[int], usable: frozenset[int], value: str, available: str) -> str:
    if missing := cores.to_text(requested - usable):
        return f"cores {missing} are not available; use some of {available}"
    if requested and cores.parse(value) != requested:
        return f"the kernel chose cores {value}"
    return ""


CPU_SET = Limit("cpu_set", CONTROLLER, _set_cores, shown_by=_EFFECTIVE)
LIMITS = (CPU_SET,)
