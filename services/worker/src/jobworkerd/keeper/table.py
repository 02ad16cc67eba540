"""The table of the keeper: what the next supervisor needs to continue."""

import os
from collections.abc import Iterator, Mapping, Sequence


class Entry:
    """The descriptors of a job, the state first, and its processes, with wait statuses of reaped ones."""

    __slots__ = ("descriptors", "pids", "statuses")

    def __init__(
        self, descriptors: list[int], pids: Sequence[int], statuses: dict[int, int] | None = None
    ) -> None:
        self.descriptors = descriptors
        self.pids = list(pids)
        self.statuses = statuses or {}


class Table:
    """The owner of all entries and their descriptors."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return iter(self._entries.items())

    def describe(self) -> dict[str, tuple[list[int], list[int], dict[int, int]]]:
        """Return all entries for `restore` in another program with the same descriptors."""
        return {key: (each.descriptors, each.pids, each.statuses) for key, each in self}

    def restore(self, entries: Mapping[str, tuple[list[int], list[int], dict[int, int]]]) -> None:
        """Add the entries that an earlier version of this program has described."""
        for key, (descriptors, pids, statuses) in entries.items():
            self._entries[key] = Entry(descriptors, pids, statuses)

    def hold(self, key: str, descriptors: list[int], pids: Sequence[int]) -> None:
        """Add an entry, or replace its PIDs and either its state or all of its descriptors.

        A single descriptor is the new state of an existing entry.
        """
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = Entry(descriptors, pids)
            return
        kept = entry.descriptors[1:] if len(descriptors) == 1 else []
        _close(entry.descriptors[: len(entry.descriptors) - len(kept)])
        entry.descriptors = descriptors + kept
        entry.pids = list(pids)

    def reaped(self, pid: int, status: int) -> None:
        """Store the wait status of a process until its entry is released."""
        for entry in self._entries.values():
            if pid in entry.pids:
                entry.statuses[pid] = status

    def status(self, pid: int) -> int | None:
        """Return the stored wait status of a process."""
        entries = self._entries.values()
        return next((entry.statuses[pid] for entry in entries if pid in entry.statuses), None)

    def release(self, key: str) -> None:
        """Close the descriptors of an entry and remove it. Do nothing without the entry."""
        if entry := self._entries.pop(key, None):
            _close(entry.descriptors)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
