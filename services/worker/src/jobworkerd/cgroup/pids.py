"""The limit on processes and threads: `pids.max`."""

from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.limit import file_limit

CONTROLLER = "pids"

MAX_PIDS = file_limit("max_pids", CONTROLLER, "pids.max", lambda limits: limits.max_pids or "max")
LIMITS = (MAX_PIDS,)


def stat(cgroup: Path) -> dict[str, int]:
    """Return the peak process count (`pids.peak`, Linux 6.1) and the denied forks as fields of `Usage`."""
    peak = files.read_number(cgroup, "pids.peak")
    denied = files.read_keyed(cgroup, "pids.events").get("max")
    found = {"pids_peak_count": peak, "pids_denied_count": denied}
    return {name: number for name, number in found.items() if number is not None}
