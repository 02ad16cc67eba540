"""The cores that a job may run on: `cpuset.cpus`."""

from pathlib import Path

from jobworkerd import cores
from jobworkerd.cgroup import files
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "cpuset"
LIMIT = "cpu_set"


def apply(cgroup: Path, limits: Limits) -> AppliedLimit:
    """Sets the cores and returns what the kernel made of them; all that there are if none are named.

    The kernel takes cores that a cgroup cannot have, and then runs it on others, so what is asked for is
    cut down to what there is first. What a job really has is in `cpuset.cpus.effective`.

    Raises:
        OSError: the kernel refused them.
    """
    there = files.read(cgroup.parent, "cpuset.cpus.effective")
    wanted = cores.parse(limits.cpu_set)
    given = wanted & cores.parse(there)
    # A list with nothing in it is "all" to the kernel; a write of nothing at all would not reach it.
    files.write(cgroup, "cpuset.cpus", cores.to_text(given) + "\n")
    value = files.read(cgroup, "cpuset.cpus.effective")
    reason = _reason(wanted, given, value, there)
    return AppliedLimit(limit=LIMIT, in_force=not reason, file="cpuset.cpus", value=value, reason=reason)


def _reason(wanted: frozenset[int], given: frozenset[int], value: str, there: str) -> str:
    if lacking := cores.to_text(wanted - given):
        return f"jobs on this host have cores {there}, and not {lacking}; choose of those"
    if wanted and cores.parse(value) != wanted:
        return f"the kernel gave cores {value}"
    return ""
