"""Removes the cgroups of an earlier server and kills its processes."""

import select
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from jobworkerd.cgroup import files
from jobworkerd.cgroup.base import JOBS, SERVER, BaseInUse, is_ours, occupied
from jobworkerd.cgroup.populated import is_populated
from jobworkerd.cgroup.usage import read_usage
from jobworkerd.model import Usage

_EMPTY_WITHIN_SECONDS = 5.0

_EARLIER_SERVER = "supervisor"
"""The cgroup of an older server, whose jobs were directly below the base."""


class Removed(NamedTuple):
    """A removed cgroup: its last usage, and the error of its removal, empty if it was removed."""

    usage: Usage
    error: str


def sweep(base: Path, is_job: Callable[[str], bool], kept: Collection[str] = ()) -> dict[str, Removed]:
    """Kill and remove all cgroups with a job id as name, except for `kept` ones.

    `is_job` recognizes job ids.
    """
    with suppress(OSError):
        (base / _EARLIER_SERVER).rmdir()
    left = [entry for entry in _children(base / JOBS) + _children(base) if is_job(entry.name)]
    return {entry.name: _remove(entry) for entry in left if entry.name not in kept}


def sweep_former_base(base: Path, job_ids: Collection[str]) -> dict[str, Removed]:
    """Kill and remove the cgroups of jobs in a base that this server does not use any more.

    The rest of the base is removed if a server created it and no other one uses it.
    """
    if not (base / JOBS).is_dir():
        return {}
    removed = sweep(base, job_ids.__contains__)
    if is_ours(base):
        with suppress(OSError, BaseInUse), occupied(base):
            (base / JOBS).rmdir()
            kill_all(base / SERVER)
            (base / SERVER).rmdir()
    return removed


def _children(cgroup: Path) -> list[Path]:
    return sorted(entry for entry in cgroup.iterdir() if entry.is_dir())


def kill_all(cgroup: Path) -> None:
    """Kill all processes of a cgroup, and wait for their end for at most `_EMPTY_WITHIN_SECONDS`.

    Raises:
        OSError: the kernel lacks cgroup.kill, or this user may not use it.
    """
    files.write(cgroup, "cgroup.kill", "1")
    deadline = time.monotonic() + _EMPTY_WITHIN_SECONDS
    with (cgroup / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while is_populated(events.fileno()) and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)


def _remove(cgroup: Path) -> Removed:
    usage = Usage()
    try:
        kill_all(cgroup)
        # Memory that is still charged to the cgroup is page cache, not memory of a process.
        usage = replace(read_usage(cgroup), memory_current_bytes=None)
        for directory in files.subtree(cgroup):
            directory.rmdir()
    except OSError as error:
        return Removed(usage, str(error))
    return Removed(usage, "")
