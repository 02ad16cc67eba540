"""Space on the disk that the database gets back when a start finds the disk full.

SQLite cuts the index of the write-ahead log at the first connection and writes it again. Another program can
take the space in between, and a database without this index cannot be opened.
"""

import os
from contextlib import suppress
from pathlib import Path

_BYTES = 256 * 1024
"""The index takes 32 KiB per 4,096 pages of the write-ahead log."""

_MODE = 0o600


class DiskReserve:
    """The owner of the file that takes the space."""

    def __init__(self, database: Path) -> None:
        self._file = database.with_name(f"{database.name}-reserve")

    def fill(self) -> None:
        """Take the space. Do nothing if it is taken already, or if the disk is full."""
        with suppress(OSError):
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _MODE)
            try:
                os.posix_fallocate(file, 0, _BYTES)
            finally:
                os.close(file)

    def free(self) -> bool:
        """Return the space to the disk. The result is false if the reserve has no space."""
        try:
            size = self._file.stat().st_size
            self._file.unlink()
        except OSError:
            return False
        return size > 0
