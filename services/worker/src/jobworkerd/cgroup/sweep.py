"""Removes the cgroups, and ends the processes, that an earlier server left below the base."""

import select
import time
from collections.abc import Callable
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.populated import is_populated

_EMPTY_WITHIN_SECONDS = 5.0


def sweep(base: Path, is_job: Callable[[str], bool]) -> dict[str, str]:
    """Kills and removes each cgroup whose name `is_job` knows; any other is somebody else's.

    Returns, for each, an empty string, or why it could not be removed.
    """
    names = sorted(entry.name for entry in base.iterdir() if entry.is_dir() and is_job(entry.name))
    return {name: _remove(base / name) for name in names}


def _remove(cgroup: Path) -> str:
    try:
        files.write(cgroup, "cgroup.kill", "1")
        _wait_empty(cgroup)
        for directory in files.subtree(cgroup):
            directory.rmdir()
    except OSError as error:
        return str(error)
    return ""


def _wait_empty(cgroup: Path) -> None:
    """Waits until no process is left, for a bounded time: what is then still there, rmdir tells."""
    deadline = time.monotonic() + _EMPTY_WITHIN_SECONDS
    with (cgroup / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while is_populated(events.fileno()) and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
