"""The resources of the host that the test process uses."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.mounts import cgroup2_mount


@contextlib.contextmanager
def cgroups() -> Iterator[Hierarchy]:
    """A hierarchy with cgroups if this process can create them, or else with process groups."""
    mount = cgroup2_mount()
    base = mount / f"jobworker-unit-{uuid.uuid4().hex[:12]}" if mount else None
    try:
        if base:
            (base / "jobs").mkdir(parents=True)
    except OSError:
        base = None
    try:
        yield Hierarchy(base, "no cgroups here", dict.fromkeys(("cpu", "memory", "pids"), "not enabled"))
    finally:
        if base:
            (base / "jobs").rmdir()
            base.rmdir()


def children() -> set[str]:
    """Return the ids of this process's children, including zombies."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def descriptors() -> list[str]:
    """Return the kinds of the open files of this process."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(entry.readlink().as_posix().split(":")[0])
    return sorted(found)
