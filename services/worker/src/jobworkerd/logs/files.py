"""The two open files of a log, and the search for records."""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobworkerd.logs.format import (
    HEADER,
    RECORD,
    Header,
    Record,
    data_file,
    index_file,
    record_position,
    unpack_all,
)
from jobworkerd.logs.records import Records

PAGE = 65_536
"""Maximum number of records to read at once. Python takes about 10 ms for them, and other streams wait."""

_MODE = 0o640
"""New files inherit the group of the directory, which can read the log."""


_MAX_IN_HEADER = 2**58
"""Offsets and indexes of records up to this one have positions that the kernel accepts."""


class LogFiles:
    """The file descriptors of a log's bytes and of its index, until `close`."""

    def __init__(self, data: int, index: int) -> None:
        self.data = data
        self.index = index

    def close(self) -> None:
        """Close both files."""
        os.close(self.index)
        os.close(self.data)

    def header(self) -> Header:
        """Read the header: the part of the log that is not trimmed."""
        # A loss of power can leave an index without it. Garbage in its place is like no header.
        header = Header(*HEADER.unpack(os.pread(self.index, HEADER.size, 0).ljust(HEADER.size, b"\0")))
        return header if max(header) <= _MAX_IN_HEADER else Header(0, 0)

    def records(self, number: int, count: int) -> list[Record]:
        """Return up to `count` records from an index on."""
        return unpack_all(os.pread(self.index, count * RECORD.size, record_position(number)))

    def columns(self, number: int, count: int) -> Records:
        """Return up to `count` records from an index on, as columns."""
        return Records(os.pread(self.index, count * RECORD.size, record_position(number)))

    def record_index(self, offset: int) -> int:
        """Return the index of the record that contains an offset, or of the next record to be written."""
        return self.bisect_records(lambda record: record.end > offset)

    def bisect_records(self, fits: Callable[[Record], bool]) -> int:
        """Return the index of the first record that fits, or of the next record to be written.

        If a record fits, all later records must fit, too.
        """

        def record_fits(number: int) -> bool:
            found = self.records(number, 1)
            return not found or fits(found[0])

        while True:
            first = self.header().first_record
            space = max(os.fstat(self.index).st_size - HEADER.size, 0) // RECORD.size
            number = bisect_left(range(space), 1, lo=min(first, space), key=record_fits)
            # Otherwise records were trimmed during the search, and their zeros look like unwritten records.
            if self.header().first_record == first:
                return number

    def backwards(self, end: int) -> Iterator[Record]:
        """Yield the records before an offset, the last one first."""
        first, behind = self.header().first_record, self.record_index(end - 1) + 1
        while behind > first:
            number = max(first, behind - PAGE)
            yield from reversed(self.records(number, behind - number))
            behind = number


@contextmanager
def open_files(directory: Path, flags: int = os.O_RDONLY) -> Iterator[LogFiles]:
    """Open the log in a job's directory, and close it afterwards.

    Raises:
        FileNotFoundError: the directory has no log, or has it no longer.
    """
    files = open_both(directory, flags | os.O_CLOEXEC)
    try:
        yield files
    finally:
        files.close()


def open_both(directory: Path, flags: int) -> LogFiles:
    """Open or create the files of a log in a job's directory.

    Raises:
        OSError: a file cannot be opened. No descriptor remains open.
    """
    data = os.open(data_file(directory), flags, _MODE)
    try:
        return LogFiles(data, os.open(index_file(directory), flags, _MODE))
    except OSError:
        os.close(data)
        raise
