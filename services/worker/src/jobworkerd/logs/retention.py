"""Giving up the oldest part of a log: its offsets stay true, and a reader learns exactly what is gone.

The header is written before anything goes. A reader looks at it after it has read, so what it read was
still there if it lies behind `start`.
"""

import os
from bisect import bisect_left
from typing import NamedTuple

from jobworkerd.logs.files import LogFiles
from jobworkerd.logs.format import HEADER, RECORD, Header, place_of
from jobworkerd.logs.hole_punch import BLOCK, punch


class Extent(NamedTuple):
    """How far a log goes: bytes from `start` up to `size`, records from `first_record` up to `records`."""

    start: int = 0
    size: int = 0
    first_record: int = 0
    records: int = 0

    @property
    def stored(self) -> int:
        """How many bytes it takes, those of its index and those that were lost among them."""
        return self.size - self.start + (self.records - self.first_record) * RECORD.size


def release(files: LogFiles, extent: Extent, most: int) -> Extent:
    """Gives up so many of the oldest bytes that at most `most` are left; returns what is left.

    Raises:
        OSError: the disk fails. If only the hole could not be made, no reader sees its bytes any more.
    """
    if extent.stored <= most:
        return extent
    start = _start_of_last(files, extent, most)
    left = extent._replace(start=start, first_record=min(files.number_of(start), extent.records))
    os.pwrite(files.index, HEADER.pack(*Header(left.start, left.first_record)), 0)
    punch(files.data, 0, start // BLOCK * BLOCK)
    # The first block of the index has the header.
    punch(files.index, BLOCK, place_of(left.first_record) // BLOCK * BLOCK)
    return left


def _start_of_last(files: LogFiles, extent: Extent, most: int) -> int:
    """Returns from where on a log takes at most `most` bytes."""

    def offset(number: int) -> int:
        return extent.size if number == extent.records else files.records(number, 1)[0].offset

    def few_enough(number: int) -> bool:
        return extent._replace(start=offset(number), first_record=number).stored <= most

    numbers = range(extent.records + 1)
    number = bisect_left(numbers, 1, lo=extent.first_record + 1, key=few_enough)
    # The last part of the record before that one may stay, too.
    with_part = extent._replace(start=extent.size, first_record=number - 1)
    return max(offset(number - 1), min(offset(number), extent.size - (most - with_part.stored)))
