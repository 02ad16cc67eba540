"""Reading a log: a cursor is a position, and reading moves it.

History and live output are the same read. A cursor never sees beyond the end that its caller was told
of, so it meets only bytes and records that are whole (see `format`), or what was given up since.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from jobworkerd.logs.files import PAGE, LogFiles, open_files
from jobworkerd.logs.format import Record
from jobworkerd.model import OutputSource

_SAME_TIME_NS = 10_000_000
"""What was read within the same so many ns may come as one chunk, which has one time."""

_LOST = "the server could not store it"
_RELEASED = "it is no longer there: the log reached its size limit"


class Chunk(NamedTuple):
    """Bytes of one source; `time_ns` is when the first of them was read from the job."""

    offset: int
    source: OutputSource
    time_ns: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.offset + len(self.data)


class Gap(NamedTuple):
    """A range that the log does not have."""

    offset: int
    end: int
    reason: str


class Passed(NamedTuple):
    """A range that is of no source that was asked for."""

    offset: int
    end: int


class LogCorrupt(RuntimeError):
    """Raised when the files do not hold what the writer said: somebody else changed them."""


class LogCursor:
    """A position in a log, and the files to read from there; see `open_cursor`."""

    def __init__(self, files: LogFiles, offset: int) -> None:
        self._files = files
        self._records: list[Record] = []
        self._next_record: int | None = None
        self.offset = offset

    def read(self, end: int, max_bytes: int, source: OutputSource | None = None) -> Chunk | Gap | Passed:
        """Returns what stands at the cursor, and moves behind it.

        A chunk is as long as one source wrote without the other in between, but ends at `end`, at the
        next multiple of `max_bytes`, and where its time would be far from that of its first byte. With
        a source, what the other wrote is passed. `end` is greater than the cursor's offset, and no more
        than the log's size.

        Raises:
            LogCorrupt: the files are not what the writer left.
        """
        piece = self._read(end, min(end, (self.offset // max_bytes + 1) * max_bytes), source)
        # What was given up meanwhile reads as zeros, whatever `_read` has made of it.
        start = self._files.header().start
        if start > self.offset:
            self._records, self._next_record = [], None
            piece = Gap(self.offset, min(start, end), _RELEASED)
        if piece is None:
            raise LogCorrupt(
                f"the log has no bytes or no record of offset {self.offset}, but should up to {end}"
            )
        self.offset = piece.end
        return piece

    def _read(self, end: int, limit: int, source: OutputSource | None) -> Chunk | Gap | Passed | None:
        """Returns what the files have here, None if that is nothing; a chunk ends at the limit."""
        first = self._find_record()
        if first is None:
            return None
        if first.source is None:
            return Gap(self.offset, min(first.end, end), _LOST)
        if source is not None and first.source is not source:
            return Passed(self.offset, self._end_of_passed(source, limit))
        data = self._bytes(self._end_of_run(first, limit))
        return Chunk(self.offset, first.source, first.time_ns, data) if data is not None else None

    def _end_of_passed(self, source: OutputSource, limit: int) -> int:
        """Returns where the other source stops, as far as the records at hand tell."""
        wanted = (record.offset for record in self._records if record.source in (source, None))
        return min(next(wanted, self._records[-1].end), limit)

    def _end_of_run(self, first: Record, limit: int) -> int:
        """Returns where the chunk stops that begins with the first record at hand.

        That does not depend on where in it the reader began: so readers come to share their chunks.
        """
        end, number = first.end, 1
        while end < limit:
            if number == len(self._records) and not self._load_rest_of_page():
                break
            record = self._records[number]
            if record.source is not first.source or _time_slot(record) != _time_slot(first):
                break
            end = record.end
            number += 1
        return min(end, limit)

    def _bytes(self, end: int) -> bytes | None:
        data = os.pread(self._files.data, end - self.offset, self.offset)
        while (at := self.offset + len(data)) < end:
            more = os.pread(self._files.data, end - at, at)
            if not more:
                return None
            data += more
        return data

    def _find_record(self) -> Record | None:
        """Makes the first record at hand the one that the cursor's offset lies in, and returns it."""
        self._drop_passed()
        if not self._records:
            if self._next_record is None:
                self._next_record = self._files.number_of(self.offset)
            else:
                # The last record that was read may have grown since: a loss is extended in place.
                self._next_record = max(self._next_record - 1, 0)
            self._load()
            self._drop_passed()
            if not self._records:
                self._load()
        return self._records[0] if self._records and self._records[0].offset <= self.offset else None

    def _drop_passed(self) -> None:
        passed = 0
        for record in self._records:
            if record.end > self.offset:
                break
            passed += 1
        del self._records[:passed]

    def _load_rest_of_page(self) -> bool:
        """Puts records that the writer has added to the page behind those at hand; tells if there are."""
        assert self._next_record is not None
        return self._next_record % PAGE != 0 and self._load()

    def _load(self) -> bool:
        """Puts the next records, to the end of their page, behind those at hand; tells if there are."""
        assert self._next_record is not None
        records = self._files.records(self._next_record, PAGE - self._next_record % PAGE)
        self._records += records
        self._next_record += len(records)
        return bool(records)


def _time_slot(record: Record) -> int:
    return record.time_ns // _SAME_TIME_NS


@contextmanager
def open_cursor(directory: Path, offset: int) -> Iterator[LogCursor]:
    """Opens the log in a job's directory at an offset, and closes it.

    Raises:
        FileNotFoundError: there is no log (any more).
    """
    with open_files(directory) as files:
        yield LogCursor(files, offset)
