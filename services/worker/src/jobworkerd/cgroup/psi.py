"""Pressure stall information: how long a job waited for the CPU, memory or I/O
(Documentation/accounting/psi.rst).
"""

from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.exhaustion import is_exhaustion

RESOURCES = ("cpu", "memory", "io")


def stat(cgroup: Path) -> dict[str, int]:
    """Return the totals in microseconds as fields of `Usage`. They need no controller.

    A kernel can lack PSI or disable it (`psi=0`). The CPU has `full` since Linux 5.13.
    """
    found: dict[str, int] = {}
    for resource in RESOURCES:
        for line in _lines(cgroup, f"{resource}.pressure"):
            # some avg10=0.00 avg60=0.00 avg300=0.00 total=0
            kind, *pairs = line.split()
            found[f"{resource}_pressure_{kind}_usec"] = int(dict(p.split("=", 1) for p in pairs)["total"])
    return found


def _lines(cgroup: Path, file: str) -> list[str]:
    try:
        return files.read(cgroup, file).splitlines()
    except OSError as error:
        if is_exhaustion(error):
            raise
        # EOPNOTSUPP: PSI is disabled.
        return []
