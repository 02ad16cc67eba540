"""A holder of jobs in the process of the test."""

import asyncio
import os
from collections.abc import Awaitable, Sequence

from jobworkerd.supervisor.holder import HeldJob


class HeldJobs:
    """Duplicates descriptors, like the keeper. The owner takes the entries, or calls `close`."""

    def __init__(self) -> None:
        self.entries: dict[str, HeldJob] = {}
        self.pids: dict[str, Sequence[int]] = {}
        self.states: list[bytes] = []
        """All states that were held, in order."""

    def hold(
        self, key: str, state: bytes, descriptors: Sequence[int] | None, pids: Sequence[int]
    ) -> Awaitable[object]:
        """Hold the entry at once."""
        if descriptors is None:
            earlier = self.entries[key]
            self.entries[key] = HeldJob(state, earlier.descriptors, earlier.statuses)
        else:
            self.entries[key] = HeldJob(state, [os.dup(each) for each in descriptors])
        self.pids[key] = pids
        self.states.append(state)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def release(self, key: str) -> None:
        """Close the descriptors of an entry."""
        if entry := self.entries.pop(key, None):
            del self.pids[key]
            for descriptor in entry.descriptors:
                os.close(descriptor)

    def close(self) -> None:
        """Release all entries."""
        for key in list(self.entries):
            self.release(key)
