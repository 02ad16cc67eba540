"""The parts of the supervisor that all jobs share."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from jobworkerd.cgroup.group_scan import GroupScan
from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.config import IsolationConfig
from jobworkerd.logs.store import LogStore
from jobworkerd.protocol.job_changes import JobChanges
from jobworkerd.records.store import Records
from jobworkerd.retry import retry_while_exhausted
from jobworkerd.scratch.disk import ScratchDisk
from jobworkerd.spawn.parent import Parent
from jobworkerd.spawn.spare_pool import SparePool
from jobworkerd.spawn.users import Users
from jobworkerd.supervisor.counters import Counters
from jobworkerd.supervisor.holder import Holder
from jobworkerd.supervisor.job_spans import JobSpans

T = TypeVar("T")


@dataclass(frozen=True)
class JobContext:
    """The shared parts that each live job uses."""

    loop: asyncio.AbstractEventLoop
    hierarchy: Hierarchy
    watcher: PopulatedWatcher
    group_scan: GroupScan
    """Takes the place of `watcher` on a host without cgroups."""
    records: Records
    logs: LogStore
    io_paths: Sequence[Path]
    parent: Parent
    holder: Holder
    spare_pool: SparePool
    users: Users
    isolation: IsolationConfig
    scratch: ScratchDisk | None
    """The owner of the private directories of jobs, if they are on disk."""
    read_buffer: memoryview
    changes: JobChanges
    """The numbered changes of the jobs' records."""
    spans: JobSpans
    """The spans of final jobs."""
    on_fault: Callable[[str, BaseException], None]
    """Reports the name and the error of a failed step."""
    warn: Callable[..., None]
    """Writes a warning with fields to the server's log."""
    counters: Counters = field(default_factory=Counters)

    async def attempt(self, what: str, step: Callable[[], T], *, failed: T) -> T:
        """Return the result of one step of a job's end. On an error, report the error and return
        `failed`, so that the remaining steps follow.
        """
        try:
            return await retry_while_exhausted(step)
        except OSError as error:
            self.on_fault(what, error)
            return failed
