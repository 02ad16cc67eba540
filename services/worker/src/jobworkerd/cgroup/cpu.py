"""The CPU limit (`cpu.max`, or `cpu.weight` if the kernel lacks it), the CPU weight and the CPU times."""

from collections.abc import Sequence
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.limit import Limit, OptionalFile, file_limit
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "cpu"

WEIGHT_FILE = "cpu.weight"
MAX_WEIGHT = 10_000

NO_MAX = (
    "this kernel has no cpu.max, and cpu.weight limits a job only while others need the CPU; "
    "boot a kernel with CONFIG_CFS_BANDWIDTH"
)

_PERIOD_USEC = 100_000
"""The kernel's default period. One percent of a core is 1,000 µs then, the smallest quota."""

_DEFAULT_WEIGHT = 100
"""The kernel's default weight."""


def _set_max_cpu(cgroup: Path, limits: Limits, _io_paths: Sequence[Path]) -> AppliedLimit:
    if not (cgroup / "cpu.max").exists():
        return _set_weight_instead(cgroup, limits)
    wanted = f"{limits.max_cpu * _PERIOD_USEC // 100} {_PERIOD_USEC}"
    return files.set_and_read_back(cgroup, MAX_CPU.name, "cpu.max", wanted)


def _set_weight_instead(cgroup: Path, limits: Limits) -> AppliedLimit:
    # With the default weight of 100, one full core weighs as much as an unlimited neighbor.
    if not limits.cpu_weight:
        files.write(cgroup, WEIGHT_FILE, str(min(limits.max_cpu, MAX_WEIGHT)))
    return AppliedLimit(
        limit=MAX_CPU.name,
        in_force=False,
        file=WEIGHT_FILE,
        value=files.read(cgroup, WEIGHT_FILE),
        reason=NO_MAX,
    )


MAX_CPU = Limit("max_cpu", CONTROLLER, _set_max_cpu, OptionalFile("cpu.max", "cpu.weight", NO_MAX))
CPU_WEIGHT = file_limit(
    "cpu_weight", CONTROLLER, WEIGHT_FILE, lambda limits: limits.cpu_weight or _DEFAULT_WEIGHT
)
LIMITS = (MAX_CPU, CPU_WEIGHT)


def stat(cgroup: Path) -> dict[str, int]:
    """Return the CPU times in microseconds as fields of `Usage`. They need no controller."""
    names = {
        "user_usec": "cpu_user_usec",
        "system_usec": "cpu_system_usec",
        "throttled_usec": "cpu_throttled_usec",
    }
    found = files.read_keyed(cgroup, "cpu.stat")
    return {ours: found[theirs] for theirs, ours in names.items() if theirs in found}
