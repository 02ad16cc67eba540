"""Finds the log offset that corresponds to a time, or to a number of bytes or lines before the end.

Each function returns an offset from 0 to `end`, which is at most the size of the log. If the offset can be in
the trimmed part, the result is 0, and the reader then gets the trimmed range.
"""

import os

from jobworkerd.logs.files import LogFiles
from jobworkerd.logs.format import Record
from jobworkerd.model import OutputSource

_READ_BYTES = 64 * 1024


def since(files: LogFiles, time_ns: int, end: int) -> int:
    """Return the offset of the first output that was read at or after a time (ns since the epoch)."""
    first = files.header().first_record
    number = files.bisect_records(lambda record: record.time_ns >= time_ns)
    if number <= first:
        return 0 if files.records(number, 1) else end
    found = files.records(number, 1)
    return min(found[0].offset, end) if found else end


def last_bytes(files: LogFiles, count: int, end: int, source: OutputSource | None = None) -> int:
    """Return the offset of the last `count` bytes before `end`, of one source or of both."""
    if count == 0:
        return end
    if source is None:
        return max(end - count, 0)
    for record in files.backwards(end):
        if record.source is source:
            piece_end = min(record.end, end)
            if count <= piece_end - record.offset:
                return piece_end - count
            count -= piece_end - record.offset
    return 0


def last_lines(files: LogFiles, count: int, end: int, source: OutputSource | None = None) -> int:
    """Return the offset of the last `count` lines before `end`; bytes after the last newline are a line."""
    if count == 0:
        return end
    behind: int | None = None
    for record in files.backwards(end):
        if record.source is None or (source is not None and record.source is not source):
            continue
        position = min(record.end, end)
        while position > record.offset:
            data, position = _before(files, record, position)
            at = len(data)
            if behind is None:
                # A newline as the very last byte ends the last line and does not begin an empty one.
                at -= 1
                behind = 0
            while (at := data.rfind(b"\n", 0, at)) >= 0:
                count -= 1
                if count == 0:
                    return position + at + 1
    return 0


def _before(files: LogFiles, record: Record, end: int) -> tuple[bytes, int]:
    """Return bytes of a record before an offset, and the offset of the first of them."""
    begin = max(record.offset, end - _READ_BYTES)
    return os.pread(files.data, end - begin, begin), begin
