"""The state that a keeper hands to the version of its program that replaces it, besides its children."""

import json
import os
from collections.abc import Mapping, Sequence

from jobworkerd.keeper import memory_file
from jobworkerd.keeper.inheritance import set_inheritable


class KeptState:
    """The table, the discarded children, the descriptor of the settings, and the current supervisor."""

    __slots__ = ("discarded", "entries", "pid", "settings", "sock")

    def __init__(
        self,
        entries: Mapping[str, tuple[list[int], list[int], dict[int, int]]],
        discarded: Sequence[int],
        settings: int,
        supervisor: tuple[int, int],
    ) -> None:
        """`supervisor` has the descriptor of its socket and its PID."""
        self.entries = entries
        self.discarded = discarded
        self.settings = settings
        self.sock, self.pid = supervisor

    @classmethod
    def read(cls, file: int) -> "KeptState":
        """Return the state in a file, and close the file."""
        state = json.loads(memory_file.read(file))
        os.close(file)
        entries = {
            key: (files, pids, _numbers(statuses))
            for key, (files, pids, statuses) in state["entries"].items()
        }
        kept = cls(entries, state["discarded"], state["config"], state["current"])
        set_inheritable(kept.descriptors(), inheritable=False)
        return kept

    def encode(self) -> bytes:
        """Return the content of the file for the next version."""
        state = {
            "entries": self.entries,
            "discarded": self.discarded,
            "config": self.settings,
            "current": (self.sock, self.pid),
        }
        return json.dumps(state).encode()

    def descriptors(self) -> list[int]:
        """Return the descriptors that the next version needs."""
        held = [each for descriptors, *_ in self.entries.values() for each in descriptors]
        return [*held, self.settings, self.sock]


def _numbers(statuses: Mapping[str, int]) -> dict[int, int]:
    """Return statuses by PIDs, of which JSON makes strings."""
    return {int(pid): status for pid, status in statuses.items()}
