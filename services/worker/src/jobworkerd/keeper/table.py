"""The table of the keeper: descriptors by key."""

import os
from itertools import islice


class Table:
    """The owner of the descriptors of all keys. A key is the id of a job, or `server`."""

    def __init__(self, entries: dict[str, list[int]] | None = None) -> None:
        self.entries = entries or {}

    def hold(self, key: str, descriptors: list[int]) -> None:
        """Take over descriptors, and close those that the key had before."""
        self.release(key)
        self.entries[key] = descriptors

    def release(self, key: str) -> None:
        """Close the descriptors of a key; do nothing if the table lacks it."""
        for each in self.entries.pop(key, ()):
            os.close(each)

    def at(self, index: int) -> tuple[str, list[int]] | None:
        """Return a key and its descriptors; None after the last one."""
        return next(islice(self.entries.items(), index, None), None)
