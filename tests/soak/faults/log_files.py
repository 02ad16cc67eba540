"""Looks into the files of a log; docs/logs.md has their format."""

import struct
from bisect import bisect_left
from pathlib import Path

_HEADER_BYTES = 24
_RECORD = struct.Struct("<QQIBxxx")
"""offset, time, length, kind."""


def lacks_record(directory: Path) -> bool:
    """Return whether a log has bytes without a record. Its writer must be stopped."""
    size = (directory / "output.log").stat().st_size
    index = (directory / "output.idx").read_bytes()[_HEADER_BYTES:]

    def end(number: int) -> int:
        offset, _, length, _ = _RECORD.unpack_from(index, number * _RECORD.size)
        return int(offset + length) if length else 0

    slots = range(len(index) // _RECORD.size)
    count = bisect_left(slots, 1, key=lambda number: int(end(number) == 0))
    return size > (end(count - 1) if count else 0)
