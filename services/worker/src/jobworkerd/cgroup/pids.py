"""The limit on processes and threads: `pids.max`."""

from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "pids"
LIMIT = "max_pids"


def apply(cgroup: Path, limits: Limits) -> AppliedLimit:
    """Sets the limit, none if it is 0, and returns what the kernel made of it.

    Raises:
        OSError: the kernel refused it.
    """
    return files.set_and_read_back(cgroup, LIMIT, "pids.max", limits.max_pids or "max")


def stat(cgroup: Path) -> dict[str, int]:
    """Returns the peak (`pids.peak`, Linux 6.1) and the refused forks, under the names of `Usage`."""
    peak = files.read_number(cgroup, "pids.peak")
    denied = files.read_keyed(cgroup, "pids.events").get("max")
    found = {"pids_peak_count": peak, "pids_denied_count": denied}
    return {name: number for name, number in found.items() if number is not None}
