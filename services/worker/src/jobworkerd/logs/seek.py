"""Where in a log a reader begins who names a time, or so many bytes or lines before the end.

Each function returns an offset from 0 up to `end`, which is no more than the log's size. A place that
may lie in what was given up is 0: the reader is then told of that.
"""

import os

from jobworkerd.logs.files import LogFiles
from jobworkerd.logs.format import Record
from jobworkerd.model import OutputSource

_READ_BYTES = 64 * 1024


def since(files: LogFiles, time_ns: int, end: int) -> int:
    """Returns where the output begins that was read from the job at a time (ns since the epoch) or later."""
    first = files.header().first_record
    number = files.first_number(lambda record: record.time_ns >= time_ns)
    if number <= first:
        return 0 if files.records(number, 1) else end
    found = files.records(number, 1)
    return min(found[0].offset, end) if found else end


def last_bytes(files: LogFiles, count: int, end: int, source: OutputSource | None = None) -> int:
    """Returns where the last `count` bytes before `end` begin: those of one source, or of both."""
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
    """Returns where the last `count` lines before `end` begin; what follows the last line end is one, too."""
    if count == 0:
        return end
    behind: int | None = None
    for record in files.backwards(end):
        if record.source is None or (source is not None and record.source is not source):
            continue
        place = min(record.end, end)
        while place > record.offset:
            data, place = _before(files, record, place)
            at = len(data)
            if behind is None:
                # The last byte of all: if it ends a line, that is the last line, not an empty one behind.
                at -= 1
                behind = 0
            while (at := data.rfind(b"\n", 0, at)) >= 0:
                count -= 1
                if count == 0:
                    return place + at + 1
    return 0


def _before(files: LogFiles, record: Record, end: int) -> tuple[bytes, int]:
    """Returns bytes of a record that stand before an offset, and where they begin."""
    begin = max(record.offset, end - _READ_BYTES)
    return os.pread(files.data, end - begin, begin), begin
