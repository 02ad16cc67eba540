"""Writing a log. It takes every byte that it is given, whatever the disk does.

Bytes that the disk refuses (ENOSPC, EIO) become a record that says which range is lost, so that the log
never has a silent hole. Such a record must not need the disk space that has just run out: records are
only ever written into space that the index has taken ahead, and the last free one of it is kept for
the loss.
"""

import os
from pathlib import Path

from jobworkerd.logs.format import MAX_RECORD_LENGTH, RECORD, Record, data_file, index_file, pack
from jobworkerd.model import OutputSource

_RECORDS_AHEAD = 4096 // RECORD.size
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""Read access too: posix_fallocate(3) needs it where the file system has no fallocate of its own."""


class LogWriter:
    """The one writer of one log; the owner of its two file descriptors until `close`."""

    def __init__(self, directory: Path) -> None:
        """Makes the files; the directory is there.

        Raises:
            OSError: they cannot be made, or are there already. Nothing is left open.
        """
        self._size = 0
        self._last: Record | None = None
        self._records = 0
        self._space = 0
        self._data = os.open(data_file(directory), _NEW_FILE, 0o600)
        try:
            self._index = os.open(index_file(directory), _NEW_FILE, 0o600)
        except OSError:
            os.close(self._data)
            raise
        try:
            self._take_space()
        except OSError:
            self.close()
            raise

    @property
    def size(self) -> int:
        """How many bytes were appended, the lost ones among them."""
        return self._size

    def append(self, source: OutputSource, data: memoryview, time_ns: int) -> None:
        """Takes the next bytes that the job wrote."""
        written = self._write(data) if self._has_space() else 0
        if written:
            self._add(Record(self._size, time_ns, written, source))
        if written < len(data):
            self._lose(len(data) - written, time_ns)

    def close(self) -> None:
        """Gives the file descriptors back. The index keeps the space that it has taken: less than a block."""
        os.close(self._index)
        os.close(self._data)

    def _write(self, data: memoryview) -> int:
        """Returns how many of the bytes reached the file."""
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._data, data[done:], self._size + done)
        except OSError:
            pass
        return done

    def _has_space(self) -> bool:
        if self._space - self._records < 2:
            try:
                self._take_space()
            except OSError:
                return False
        return True

    def _take_space(self) -> None:
        ahead = self._space + _RECORDS_AHEAD
        os.posix_fallocate(self._index, self._space * RECORD.size, _RECORDS_AHEAD * RECORD.size)
        self._space = ahead

    def _lose(self, length: int, time_ns: int) -> None:
        last = self._last
        if last and last.source is None and last.length + length <= MAX_RECORD_LENGTH:
            self._records -= 1
            self._size = last.offset
            self._add(last._replace(length=last.length + length))
        else:
            self._add(Record(self._size, time_ns, length, None))

    def _add(self, record: Record) -> None:
        os.pwrite(self._index, pack(record), self._records * RECORD.size)
        self._last = record
        self._records += 1
        self._size = record.end
