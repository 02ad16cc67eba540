"""The CPU limit: `cpu.max`, or `cpu.weight` where the kernel lacks it; and the CPU weight."""

from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "cpu"
LIMIT = "max_cpu"
WEIGHT = "cpu_weight"

WEIGHT_FILE = "cpu.weight"
MOST_WEIGHT = 10_000

NO_MAX = (
    "this kernel has no cpu.max; cpu.weight shares the CPU only while others want it too, "
    "boot a kernel with CONFIG_CFS_BANDWIDTH"
)

_PERIOD_USEC = 100_000
"""The kernel's default; with it one percent of a core is 1,000 µs, the least quota that it takes."""

_DEFAULT_WEIGHT = 100
"""The kernel's."""


def apply(cgroup: Path, limits: Limits) -> AppliedLimit:
    """Sets the limit and returns what the kernel made of it.

    Raises:
        OSError: the kernel refused it.
    """
    if not (cgroup / "cpu.max").exists():
        return _share(cgroup, limits)
    wanted = f"{limits.max_cpu * _PERIOD_USEC // 100} {_PERIOD_USEC}"
    return files.set_and_read_back(cgroup, LIMIT, "cpu.max", wanted)


def _share(cgroup: Path, limits: Limits) -> AppliedLimit:
    # By the kernel's default weight one full core weighs as much as an unlimited neighbour.
    if not limits.cpu_weight:
        files.write(cgroup, WEIGHT_FILE, str(min(limits.max_cpu, MOST_WEIGHT)))
    return AppliedLimit(
        limit=LIMIT,
        in_force=False,
        file=WEIGHT_FILE,
        value=files.read(cgroup, WEIGHT_FILE),
        reason=NO_MAX,
    )


def apply_weight(cgroup: Path, limits: Limits) -> AppliedLimit:
    """Sets the weight, the kernel's default if none is named, and returns what the kernel made of it.

    Raises:
        OSError: the kernel refused it.
    """
    return files.set_and_read_back(cgroup, WEIGHT, WEIGHT_FILE, limits.cpu_weight or _DEFAULT_WEIGHT)


def stat(cgroup: Path) -> dict[str, int]:
    """Returns the CPU times in microseconds, under the names of `Usage`; kept without a controller."""
    names = {
        "user_usec": "cpu_user_usec",
        "system_usec": "cpu_system_usec",
        "throttled_usec": "cpu_throttled_usec",
    }
    found = files.read_keyed(cgroup, "cpu.stat")
    return {ours: found[theirs] for theirs, ours in names.items() if theirs in found}
