"""Reclaims the space of removed logs in pieces.

A file system takes a tenth of a second or more to free a GiB. During that time the supervisor reads no
output.
"""

import os
from collections import deque
from pathlib import Path

_PIECE_BYTES = 16 * 1024 * 1024
_MOST_FILES = 16
"""Each file takes a descriptor. The space of further files is reclaimed immediately."""


class DeferredReclaim:
    """Owns unlinked files until their space is reclaimed."""

    def __init__(self) -> None:
        self._files: deque[int] = deque()

    def add(self, file: Path) -> None:
        """Open a file that will be removed, if it is large and the number of waiting files permits.

        Raises:
            OSError: the file cannot be opened.
        """
        if len(self._files) == _MOST_FILES:
            return
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        if os.fstat(descriptor).st_size > _PIECE_BYTES:
            self._files.append(descriptor)
        else:
            os.close(descriptor)

    def reclaim(self) -> bool:
        """Truncate the first file by one piece, and return whether more files wait.

        Raises:
            OSError: the disk failed; the whole file was closed.
        """
        if not self._files:
            return False
        descriptor = self._files[0]
        left = max(os.fstat(descriptor).st_size - _PIECE_BYTES, 0)
        try:
            os.ftruncate(descriptor, left)
        except OSError:
            left = 0
            raise
        finally:
            if not left:
                os.close(self._files.popleft())
        return bool(self._files)

    def close(self) -> None:
        """Reclaim all space immediately."""
        while self._files:
            os.close(self._files.popleft())
