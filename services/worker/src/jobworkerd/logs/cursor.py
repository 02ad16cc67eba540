"""Reading a log: a cursor is a position, and reading moves it.

History and live output are the same read. A cursor never sees beyond the end that its caller was told
of, so it meets only bytes and records that are whole (see `format`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from jobworkerd.logs.format import RECORD, Record, data_file, index_file, unpack_all
from jobworkerd.model import OutputSource

_RECORDS_A_READ = 4096 // RECORD.size


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


class LogCorrupt(RuntimeError):
    """Raised when the files do not hold what the writer said: somebody else changed them."""


class LogCursor:
    """A position in a log, and the file descriptors to read from there; see `open_cursor`."""

    def __init__(self, data: int, index: int, offset: int) -> None:
        self._data = data
        self._index = index
        self._records: list[Record] = []
        self._next_record: int | None = None
        self.offset = offset

    def read(self, end: int, max_bytes: int) -> Chunk | Gap:
        """Returns what stands at the cursor, and moves behind it.

        A chunk is as long as one source wrote without the other in between, but ends at `end` and has
        at most `max_bytes`. `end` is greater than the cursor's offset, and no more than the log's size.

        Raises:
            LogCorrupt: the files are not what the writer left.
        """
        self._find_record()
        first = self._records[0]
        if first.source is None:
            return self._move(Gap(self.offset, min(first.end, end), "the server could not store it"))
        run_end = self._run_end(min(end, self.offset + max_bytes))
        return self._move(Chunk(self.offset, first.source, first.time_ns, self._bytes(run_end)))

    def _run_end(self, limit: int) -> int:
        """Returns where the first record's source stops, or the limit if that comes first."""
        source, run_end, number = self._records[0].source, self._records[0].end, 1
        while run_end < limit:
            if number == len(self._records):
                self._load()
                if number == len(self._records):
                    break
            if self._records[number].source is not source:
                break
            run_end = self._records[number].end
            number += 1
        return min(run_end, limit)

    def _bytes(self, end: int) -> bytes:
        data = os.pread(self._data, end - self.offset, self.offset)
        while (at := self.offset + len(data)) < end:
            more = os.pread(self._data, end - at, at)
            if not more:
                raise LogCorrupt(f"the log ends at {at}, not at {end}")
            data += more
        return data

    def _move(self, piece: Chunk | Gap) -> Chunk | Gap:
        self.offset = piece.end
        return piece

    def _find_record(self) -> None:
        """Makes the first record at hand the one that the cursor's offset lies in."""
        if self._next_record is None:
            self._next_record = self._seek()
        self._drop_passed()
        if not self._records:
            # The last record that was read may have grown since: a loss is extended in place.
            self._next_record = max(self._next_record - 1, 0)
            self._load()
            self._drop_passed()
        if not self._records or self._records[0].offset > self.offset:
            raise LogCorrupt(f"the index has no record of offset {self.offset}")

    def _drop_passed(self) -> None:
        passed = 0
        for record in self._records:
            if record.end > self.offset:
                break
            passed += 1
        del self._records[:passed]

    def _load(self) -> None:
        """Puts the next records of the index behind those at hand."""
        assert self._next_record is not None
        size = _RECORDS_A_READ * RECORD.size
        data = os.pread(self._index, size, self._next_record * RECORD.size)
        records = unpack_all(data)
        self._records += records
        self._next_record += len(records)

    def _seek(self) -> int:
        """Returns the number of the record behind the one that the offset lies in, by bisection."""
        low, high = 0, os.fstat(self._index).st_size // RECORD.size
        while low < high:
            middle = (low + high) // 2
            record = unpack_all(os.pread(self._index, RECORD.size, middle * RECORD.size))
            if not record or record[0].offset > self.offset:
                high = middle
            else:
                low = middle + 1
        return low


@contextmanager
def open_cursor(directory: Path, offset: int) -> Iterator[LogCursor]:
    """Opens the log in a job's directory at an offset, and closes it.

    Raises:
        FileNotFoundError: there is no log (any more).
    """
    data = os.open(data_file(directory), os.O_RDONLY | os.O_CLOEXEC)
    try:
        index = os.open(index_file(directory), os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield LogCursor(data, index, offset)
        finally:
            os.close(index)
    finally:
        os.close(data)
