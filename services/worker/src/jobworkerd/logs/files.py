"""The two open files of one log, and how its records are found in them."""

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
    place_of,
    unpack_all,
)
from jobworkerd.logs.records import Records

PAGE = 65_536
"""How many records are read at once at most. Python takes about 10 ms for them, and other streams wait."""


class LogFiles:
    """The file descriptors of a log's bytes and of its index; whoever made them closes them."""

    def __init__(self, data: int, index: int) -> None:
        self.data = data
        self.index = index

    def header(self) -> Header:
        """Returns what is left of the log at this moment."""
        return Header(*HEADER.unpack(os.pread(self.index, HEADER.size, 0)))

    def records(self, number: int, count: int) -> list[Record]:
        """Returns the records from a number on: `count`, or as many as there are."""
        return unpack_all(os.pread(self.index, count * RECORD.size, place_of(number)))

    def columns(self, number: int, count: int) -> Records:
        """Returns the records from a number on, as `records` does, for many of them."""
        return Records(os.pread(self.index, count * RECORD.size, place_of(number)))

    def number_of(self, offset: int) -> int:
        """Returns the number of the record that an offset lies in, or that the next record will have."""
        return self.first_number(lambda record: record.end > offset)

    def first_number(self, fits: Callable[[Record], bool]) -> int:
        """Returns the number of the first record that fits, or that the next record will have.

        All records behind one that fits do so, too.
        """

        def record_fits(number: int) -> bool:
            found = self.records(number, 1)
            return not found or fits(found[0])

        while True:
            first = self.header().first_record
            space = (os.fstat(self.index).st_size - HEADER.size) // RECORD.size
            number = bisect_left(range(space), 1, lo=min(first, space), key=record_fits)
            # Otherwise records were given back meanwhile, and may have been taken for ones to come.
            if self.header().first_record == first:
                return number

    def backwards(self, end: int) -> Iterator[Record]:
        """Yields the records of what stands before an offset, the last one first."""
        first, behind = self.header().first_record, self.number_of(end - 1) + 1
        while behind > first:
            number = max(first, behind - PAGE)
            yield from reversed(self.records(number, behind - number))
            behind = number


@contextmanager
def open_files(directory: Path, flags: int = os.O_RDONLY) -> Iterator[LogFiles]:
    """Opens the log in a job's directory, and closes it.

    Raises:
        FileNotFoundError: there is no log (any more).
    """
    data = os.open(data_file(directory), flags | os.O_CLOEXEC)
    try:
        index = os.open(index_file(directory), flags | os.O_CLOEXEC)
        try:
            yield LogFiles(data, index)
        finally:
            os.close(index)
    finally:
        os.close(data)
