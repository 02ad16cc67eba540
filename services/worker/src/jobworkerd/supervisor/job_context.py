"""What all jobs share."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.config import IsolationConfig
from jobworkerd.logs.store import LogStore
from jobworkerd.retry import retry_while_exhausted
from jobworkerd.spawn.spare_pool import Spares
from jobworkerd.spawn.users import Users

T = TypeVar("T")


@dataclass(frozen=True)
class JobContext:
    """The parts of the supervisor that each job uses."""

    loop: asyncio.AbstractEventLoop
    hierarchy: Hierarchy
    watcher: PopulatedWatcher
    logs: LogStore
    io_paths: Sequence[Path]
    spares: Spares
    users: Users
    isolation: IsolationConfig
    read_buffer: memoryview
    on_fault: Callable[[str, BaseException], None]
    """Reports an error in a step of a job's end."""
    warn: Callable[..., None]
    """Writes a warning to the server's log."""

    async def attempt(self, what: str, step: Callable[[], T], *, failed: T) -> T:
        """Takes one step of a job's end; reports an error and returns `failed`, so that the end goes on."""
        try:
            return await retry_while_exhausted(step)
        except OSError as error:
            self.on_fault(what, error)
            return failed
