"""Reads the usage of a cgroup."""

from pathlib import Path

from jobworkerd.cgroup import cpu, io, memory, pids, psi
from jobworkerd.model import Usage


def read_usage(cgroup: Path) -> Usage:
    """Return the usage of a cgroup so far. Figures that the kernel lacks are None."""
    return Usage(
        **cpu.stat(cgroup),
        **memory.stat(cgroup),
        **io.stat(cgroup),
        **pids.stat(cgroup),
        **psi.stat(cgroup),
    )
