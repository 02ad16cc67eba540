"""Trims the oldest part of a log. Offsets do not change, and a reader gets the exact trimmed range.

The header is written before the bytes are released. A reader checks it after each read: bytes after `start`
are valid.
"""

import os
from bisect import bisect_left
from typing import NamedTuple

from jobworkerd.logs.files import LogFiles
from jobworkerd.logs.format import HEADER, RECORD, Header, record_position
from jobworkerd.logs.hole_punch import BLOCK, punch


class Extent(NamedTuple):
    """The range of a log: bytes from `start` to `size`, records from `first_record` to `records`."""

    start: int = 0
    size: int = 0
    first_record: int = 0
    records: int = 0

    @property
    def stored(self) -> int:
        """The space of the log in bytes, including its index and lost bytes."""
        return self.size - self.start + (self.records - self.first_record) * RECORD.size


def extent_of(files: LogFiles) -> Extent:
    """Return the range of a log that has ended."""
    start, first = files.header()
    count = max(files.bisect_records(lambda _: False), first)
    last = files.records(count - 1, 1) if count > first else []
    return Extent(start, last[0].end if last else start, first, count)


def trim(files: LogFiles, extent: Extent, most: int) -> Extent:
    """Trim the oldest bytes so that the log takes at most `most` bytes, and return the remaining range.

    Raises:
        OSError: the disk failed. If only the hole punch failed, readers no longer see the trimmed bytes.
    """
    if extent.stored <= most:
        return extent
    start = _start_of_last(files, extent, most)
    left = extent._replace(start=start, first_record=min(files.record_index(start), extent.records))
    os.pwrite(files.index, HEADER.pack(*Header(left.start, left.first_record)), 0)
    punch(files.data, 0, start // BLOCK * BLOCK)
    # The first block of the index has the header.
    punch(files.index, BLOCK, record_position(left.first_record) // BLOCK * BLOCK)
    return left


def _start_of_last(files: LogFiles, extent: Extent, most: int) -> int:
    """Return the first offset from which on the log takes at most `most` bytes."""

    def offset(number: int) -> int:
        return extent.size if number == extent.records else files.records(number, 1)[0].offset

    def few_enough(number: int) -> bool:
        return extent._replace(start=offset(number), first_record=number).stored <= most

    numbers = range(extent.records + 1)
    number = bisect_left(numbers, 1, lo=extent.first_record + 1, key=few_enough)
    # The last part of the record before that one can remain, too.
    with_part = extent._replace(start=extent.size, first_record=number - 1)
    return max(offset(number - 1), min(offset(number), extent.size - (most - with_part.stored)))
