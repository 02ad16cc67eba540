"""Counts the output of all jobs since the start of this process."""

from dataclasses import dataclass


@dataclass
class LogTotals:
    """The bytes of output that were stored, and those that the disk refused."""

    written: int = 0
    lost: int = 0

    def add(self, count: int, *, lost: bool) -> None:
        """Count bytes."""
        if lost:
            self.lost += count
        else:
            self.written += count
