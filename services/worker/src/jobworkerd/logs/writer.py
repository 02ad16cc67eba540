"""Writing a log. It takes every byte that it is given, whatever the disk does.

Bytes that the disk refuses (ENOSPC, EIO) become a record that says which range is lost, so that the log
never has a silent hole. Such a record must not need the disk space that has just run out: records are
only ever written into space that the index has taken ahead, and the last free one of it is kept for
the loss.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from jobworkerd.logs.files import LogFiles
from jobworkerd.logs.format import (
    HEADER,
    MAX_RECORD_LENGTH,
    RECORD,
    Header,
    Record,
    data_file,
    index_file,
    pack,
    place_of,
)
from jobworkerd.logs.retention import Extent, release
from jobworkerd.model import OutputSource

_RECORDS_AHEAD = 4096 // RECORD.size
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""Read access too: posix_fallocate(3) needs it where the file system has no fallocate of its own."""
_MODE = 0o640
"""The group is that of the directory; who is in it may read the log."""


class LogWriter:
    """The one writer of one log; the owner of its two file descriptors until `close`."""

    def __init__(self, directory: Path, on_growth: Callable[["LogWriter", int], None] | None = None) -> None:
        """Makes the files; the directory is there.

        `on_growth` is called with each number of bytes that the log takes more than before.

        Raises:
            OSError: they cannot be made, or are there already. Nothing is left open.
        """
        self.extent = Extent()
        self._on_growth = on_growth
        self._last: Record | None = None
        self._space = 0
        self._time_ns = 0
        self._unrecorded = 0
        data = os.open(data_file(directory), _NEW_FILE, _MODE)
        try:
            index = os.open(index_file(directory), _NEW_FILE, _MODE)
        except OSError:
            os.close(data)
            raise
        self._files = LogFiles(data, index)
        try:
            self._take_space()
            os.pwrite(index, HEADER.pack(*Header(0, 0)), 0)
        except OSError:
            self.close()
            raise

    @property
    def size(self) -> int:
        """How many bytes were appended, those that were lost or given up among them."""
        return self.extent.size

    @property
    def unrecorded(self) -> int:
        """How many bytes were lost that the index has no record of, as it could not be written, either."""
        return self._unrecorded

    def append(self, source: OutputSource, data: memoryview, time_ns: int) -> None:
        """Takes the next bytes that the job wrote. Times never go back within a log, as a clock may."""
        stored = self.extent.stored
        self._time_ns = max(self._time_ns, time_ns)
        lost_before, self._unrecorded = self._unrecorded, self._unrecorded + len(data)
        try:
            if lost_before:
                self._lose(lost_before)
            written = self._write(data) if self._has_space() else 0
            if written:
                self._add(Record(self.size, self._time_ns, written, source))
            if self._unrecorded:
                self._lose(self._unrecorded)
        except OSError:
            # Even the index cannot be written. What is unrecorded is told of when it can be again.
            pass
        self._report_growth(stored)

    def record_loss(self) -> None:
        """Tries once more to record bytes that were lost without a record."""
        stored = self.extent.stored
        if self._unrecorded:
            with suppress(OSError):
                self._lose(self._unrecorded)
        self._report_growth(stored)

    def _report_growth(self, stored_before: int) -> None:
        if self._on_growth:
            self._on_growth(self, self.extent.stored - stored_before)

    def release(self, most: int) -> None:
        """Gives up so many of the oldest bytes that at most `most` are left.

        Raises:
            OSError: the disk fails.
        """
        self.extent = release(self._files, self.extent, most)

    def close(self) -> None:
        """Gives the file descriptors back. The index keeps the space that it has taken: less than a block."""
        os.close(self._files.index)
        os.close(self._files.data)

    def _write(self, data: memoryview) -> int:
        """Returns how many of the bytes reached the file."""
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._files.data, data[done:], self.size + done)
        except OSError:
            pass
        return done

    def _has_space(self) -> bool:
        if self._space - self.extent.records < 2:
            try:
                self._take_space()
            except OSError:
                return False
        return True

    def _take_space(self) -> None:
        ahead = self._space + _RECORDS_AHEAD
        # Not from 0 on: that would fill the hole where records were given up.
        begin = place_of(self._space) if self._space else 0
        os.posix_fallocate(self._files.index, begin, place_of(ahead) - begin)
        self._space = ahead

    def _lose(self, length: int) -> None:
        last, number = self._last, self.extent.records
        if last and last.source is None and last.length + length <= MAX_RECORD_LENGTH:
            self._record(last._replace(length=last.length + length), number - 1)
        else:
            self._add(Record(self.size, self._time_ns, length, None))

    def _add(self, record: Record) -> None:
        self._record(record, self.extent.records)

    def _record(self, record: Record, number: int) -> None:
        os.pwrite(self._files.index, pack(record), place_of(number))
        self._last = record
        self._unrecorded -= record.end - self.size
        self.extent = self.extent._replace(size=record.end, records=number + 1)
