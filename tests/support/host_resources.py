"""The resources of the host that the test process uses."""

import contextlib
import gc
import os
import uuid
from collections import Counter
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


def descriptors() -> Counter[str]:
    """Count the open files of this process by kind, such as `socket`, or by path."""
    kinds: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this listing
            kinds[entry.readlink().as_posix().partition(":[")[0]] += 1
    return kinds


def close_garbage() -> None:
    """Close the descriptors of garbage of earlier tests, which else vanish during a test."""
    gc.collect()


def opened_since(before: Counter[str]) -> Counter[str]:
    """Count the open files that `before` does not have.

    Threads and garbage of earlier tests can close theirs meanwhile, so a test cannot compare for equality.
    """
    return descriptors() - before
