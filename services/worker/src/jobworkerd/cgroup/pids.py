"""The limit on processes and threads: `pids.max`."""

from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "pids"
LIMIT = "max_pids"


def is_set(limits: Limits) -> bool:
    """True if there is something to limit."""
    return limits.max_pids > 0


def apply(cgroup: Path, limits: Limits) -> AppliedLimit:
    """Sets the limit and returns what the kernel made of it.

    Raises:
        OSError: the kernel refused it.
    """
    return files.set_and_read_back(cgroup, LIMIT, "pids.max", limits.max_pids)


def stat(cgroup: Path) -> dict[str, int]:
    """Returns the peak (`pids.peak`, Linux 6.1), under the name of `Usage`."""
    peak = files.read_number(cgroup, "pids.peak")
    return {} if peak is None else {"pids_peak_count": peak}
