"""Finds the processes of process groups in /proc, with one scan for all jobs that wait for one.

The kernel has no event for an empty process group. A scan takes about 30 µs per process of the host, so jobs
that end at the same time must not scan one by one.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence

from jobworkerd.retry import retry_while_exhausted


class GroupScan:
    """The scans of one event loop. They take at most half of its time."""

    def __init__(self) -> None:
        self._next: asyncio.Task[Mapping[int, Sequence[int]]] | None = None
        self._earliest = 0.0

    async def members(self, leader: int) -> Sequence[int]:
        """Return the processes of a group at some time after the call, without zombies.

        Raises:
            OSError: /proc cannot be read.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._scan())
        groups = await asyncio.shield(self._next)
        return groups.get(leader, ())

    async def _scan(self) -> Mapping[int, Sequence[int]]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._earliest - loop.time())
        self._next = None  # a caller from here on needs a later scan
        began = loop.time()
        groups = await retry_while_exhausted(process_groups)
        ended = loop.time()
        self._earliest = ended + (ended - began)
        return groups


def process_groups() -> Mapping[int, Sequence[int]]:
    """Return the processes of each process group, without zombies.

    Raises:
        OSError: /proc cannot be read.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit() and (group := _group_of(entry.path)):
                groups[group].append(int(entry.name))
    return groups


def _group_of(process: str) -> int:
    """Return the process group of a directory of /proc; 0 if the process is a zombie or has ended."""
    try:
        with open(f"{process}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - Path is much slower
            stat = file.read(1_024)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # proc(5): the command's name, in parentheses, can contain any character. State, ppid and pgrp follow it.
    state, _, group = stat.rpartition(b")")[2].split(None, 3)[:3]
    return 0 if state == b"Z" else int(group)
