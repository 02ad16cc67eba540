"""What is left of logs that were removed: given back to the file system in pieces.

To free a GiB takes a file system a tenth of a second and more, in which no job's output would be read.
"""

import os
from collections import deque
from pathlib import Path

_PIECE_BYTES = 16 * 1024 * 1024
_MOST_FILES = 16
"""Each takes a descriptor; the space of others is given back at once."""


class Remains:
    """The owner of files that have no name any more, until their space is given back."""

    def __init__(self) -> None:
        self._files: deque[int] = deque()

    def keep(self, file: Path) -> None:
        """Takes a file that is about to be removed, if it is large and few others wait.

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

    def give_back(self) -> bool:
        """Gives the next piece back, the last one of its file; tells whether there is more.

        Raises:
            OSError: the disk fails; that file is given up as a whole.
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
        """Gives back all at once."""
        while self._files:
            os.close(self._files.popleft())
