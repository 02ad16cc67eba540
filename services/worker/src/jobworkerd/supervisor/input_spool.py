"""The buffer between the clients that send input and the job that reads it.

The buffer is a file in memory. The kernel keeps its whole state. The size of the file is the number of
accepted bytes. The position of its open file description is the number of bytes that the job got.
sendfile(2) moves bytes and position in one system call. A duplicate of the descriptor in another process
shares the position. So a supervisor that is killed between two instructions neither loses nor repeats a byte.
"""

import os
from contextlib import suppress
from typing import Self

from jobworkerd.logs import hole_punch

_TRIM_BYTES = 128 * 1024


class InputSpool:
    """The owner of one descriptor of the file, until `close`."""

    def __init__(self, file: int) -> None:
        """Take over the file of an earlier supervisor, or see `create`."""
        self.file = file
        self._size = os.fstat(file).st_size
        self._position = os.lseek(file, 0, os.SEEK_CUR)
        self._trimmed = 0

    @classmethod
    def create(cls) -> Self:
        """Create an empty file.

        Raises:
            OSError: the host is exhausted.
        """
        return cls(os.memfd_create("jobworkerd-input"))

    @property
    def size(self) -> int:
        """The number of all bytes so far."""
        return self._size

    @property
    def pending(self) -> int:
        """The number of bytes that the job has not got yet."""
        return self._size - self._position

    @property
    def last_byte(self) -> bytes:
        """The last byte; a line end in an empty spool."""
        return os.pread(self.file, 1, self._size - 1) if self._size else b"\n"

    def append(self, data: memoryview) -> None:
        """Add bytes.

        Raises:
            OSError: the host is out of memory. A part of the bytes can have been added.
        """
        while data:
            count = os.pwrite(self.file, data, self._size)
            self._size += count
            data = data[count:]

    def send(self, target: int) -> None:
        """Move pending bytes to a pipe or a terminal, as many as fit.

        Raises:
            BlockingIOError: nothing fits.
            OSError: the target does not accept bytes any more.
        """
        self._position += os.sendfile(target, self.file, None, self.pending)

    def discard(self) -> None:
        """Drop the pending bytes."""
        self._position = os.lseek(self.file, self._size, os.SEEK_SET)

    def trim(self, unread: int) -> None:
        """Release the memory of bytes that the job has read.

        A pipe refers to the pages of the file instead of copying them, so it needs its last `unread` bytes.
        """
        end = (self._position - unread) // hole_punch.BLOCK * hole_punch.BLOCK
        if end - self._trimmed >= _TRIM_BYTES:
            with suppress(OSError):  # the next call repeats it
                hole_punch.punch(self.file, self._trimmed, end)
                self._trimmed = end

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.file)
