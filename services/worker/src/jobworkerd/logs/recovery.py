"""Finds the end of a log whose writer died, and repairs what follows the last whole record.

After a kill of the writer, the index can lack the record of bytes that are already in the data file. The
intent in the next free slot has their source (see `format`). After a power loss the end of either file can
be missing or wrong. The size of a log never decreases by a repair, unless records themselves are missing.
"""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jobworkerd.logs.files import PAGE, LogFiles
from jobworkerd.logs.format import (
    HEADER,
    MAX_RECORD_LENGTH,
    RECORD,
    RECORDS_AHEAD,
    SOURCES,
    Record,
    pack,
    record_position,
    unpack_intent,
)
from jobworkerd.logs.retention import Extent

_CHECKED_RECORDS = 1024
"""Number of records before the end to compare with each other. A kill of the writer breaks none."""


class End(NamedTuple):
    """The end of a log: its range, its last record, and the number of records with allocated space."""

    extent: Extent
    last: Record | None
    space: int


def recover(files: LogFiles) -> End:
    """Repair the end of a log that no process writes, and return it.

    Raises:
        OSError: the disk failed.
    """
    _complete_header(files)
    header = files.header()
    first = header.first_record
    space = max(_slots(files), first)
    count = _whole_records(files, first, max(files.bisect_records(lambda _: False), first))
    last = _last_record(files, first, count)
    size = max(header.start, last.end if last else 0)
    added = _surplus_data(files, count, size, last)
    if not added:
        _clear(files, count, space)
        added = _missing_data(files, first, count)
    if added:
        count = added[0] + len(added[1])
        _write(files, *added)
        last = added[1][-1]
        size = last.end
        _clear(files, count, space)
    return End(Extent(header.start, size, first, count), last, max(_slots(files), count))


def _complete_header(files: LogFiles) -> None:
    if os.fstat(files.index).st_size < HEADER.size:
        os.ftruncate(files.index, HEADER.size)


def _slots(files: LogFiles) -> int:
    return (os.fstat(files.index).st_size - HEADER.size) // RECORD.size


def _whole_records(files: LogFiles, first: int, count: int) -> int:
    """Return the number of records before the first of the last ones that does not follow its predecessor."""
    while count > first:
        begin = max(first, count - _CHECKED_RECORDS)
        start = files.header().start if begin == first else None
        slots = _pread_slots(files, begin, count - begin)
        count = begin + _consistent(RECORD.iter_unpack(slots), start)
        # One record alone says nothing, except the first one, which the header describes.
        if begin == first or count > begin + 1:
            return count
    return count


def _consistent(records: Iterable[tuple[int, int, int, int]], start: int | None) -> int:
    """Return the number of consistent records at the beginning. The first of them contains `start`."""
    end, latest, count = start, 0, 0
    for offset, time_ns, length, kind in records:
        if count == 0 and start is not None:
            follows = offset <= start <= offset + length
        else:
            follows = end in (offset, None)
        if not follows or length == 0 or time_ns < latest or kind >= len(SOURCES):
            break
        end, latest, count = offset + length, time_ns, count + 1
    return count


def _pread_slots(files: LogFiles, number: int, count: int) -> bytes:
    data = os.pread(files.index, count * RECORD.size, record_position(number))
    return data[: len(data) // RECORD.size * RECORD.size]


def _last_record(files: LogFiles, first: int, count: int) -> Record | None:
    return files.records(count - 1, 1)[0] if count > first else None


def _missing_data(files: LogFiles, first: int, count: int) -> tuple[int, list[Record]] | None:
    """Return the records to write, and their first index, if bytes of records are beyond the data file."""
    # Trimmed bytes are not missed, and the first record must reach their end.
    data_size = max(os.fstat(files.data).st_size, files.header().start)
    number = min(max(files.bisect_records(lambda record: record.end > data_size), first), count)
    while number < count:
        for record in files.records(number, min(PAGE, count - number)):
            if record.source is not None:
                return number, _shortened(record, data_size, files.records(count - 1, 1)[0])
            number += 1
    return None


def _shortened(record: Record, data_size: int, last: Record) -> list[Record]:
    """Return the part of a record before the end of the data, and the loss of all bytes after it."""
    kept = max(data_size - record.offset, 0)
    whole = [record._replace(length=kept)] if kept else []
    return whole + _pieces(Record(record.offset + kept, last.time_ns, 0, None), last.end)


def _surplus_data(
    files: LogFiles, count: int, size: int, last: Record | None
) -> tuple[int, list[Record]] | None:
    """Return the records to write, and their first index, if bytes left the pipe without a record.

    Bytes of a copy that did not reach the file are lost, or still in the pipe. They count as lost, because a
    gap that is too long is better than a silent loss.
    """
    found = os.fstat(files.data)
    kind, copied = unpack_intent(_pread_slots(files, count, 1), size)
    end = max(found.st_size, size)
    begin = Record(size, max(last.time_ns if last else 0, found.st_mtime_ns), 0, SOURCES[kind])
    records = _pieces(begin, end)
    records += _pieces(begin._replace(offset=end, source=None), size + copied)
    return (count, records) if records else None


def _pieces(begin: Record, end: int) -> list[Record]:
    """Return records from the offset of `begin` to `end`, each of them at most as long as a record can be."""
    starts = range(begin.offset, end, MAX_RECORD_LENGTH)
    return [begin._replace(offset=at, length=min(MAX_RECORD_LENGTH, end - at)) for at in starts]


def _write(files: LogFiles, number: int, records: Sequence[Record]) -> None:
    """Write records, the first one last: it replaces the intent, which a kill before it must leave."""
    for at, record in reversed(list(enumerate(records, number))):
        os.pwrite(files.index, pack(record), record_position(at))


def _clear(files: LogFiles, count: int, space: int) -> None:
    """Clear the slots after the last record. Keep allocated space: a full disk needs it for a loss."""
    kept = min(max(space, count), count + RECORDS_AHEAD)
    if os.fstat(files.index).st_size > record_position(kept):
        os.ftruncate(files.index, record_position(kept))
    rest = os.pread(files.index, record_position(kept) - record_position(count), record_position(count))
    if rest.strip(b"\0"):
        os.pwrite(files.index, bytes(len(rest)), record_position(count))
