"""Reading a log: a cursor is a position, and reading moves it.

History and live output are the same read. A cursor never sees beyond the end that its caller was told
of, so it meets only bytes and records that are whole (see `format`), or what was given up since.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from jobworkerd.logs.files import PAGE, LogFiles, open_files
from jobworkerd.logs.format import LOST
from jobworkerd.logs.records import Records, other_kinds
from jobworkerd.model import OutputSource

_FIRST_LOAD, _GROWTH = 256, 8
"""How many records are read at first, and how many times as many where those are not enough."""

_NONE = Records(b"")

_LOST = "the server could not store it"
_RELEASED = "it is no longer there: the log reached its size limit"


class Chunk(NamedTuple):
    """Bytes of one source, or of both by turns.

    `time_ns` is when the first of them was read from the job, and `source` what they begin with.
    `span_bytes` and `span_usec` are the lengths of the spans of one time and their times after `time_ns`,
    `run_bytes` the lengths of the runs of one source; empty = all is one. A reader of one source has its
    runs in `data` alone, but the others' lengths, too.
    """

    offset: int
    source: OutputSource
    time_ns: int
    data: bytes
    span_bytes: Sequence[int] = ()
    span_usec: Sequence[int] = ()
    run_bytes: Sequence[int] = ()

    @property
    def end(self) -> int:
        """The offset behind the last byte that it tells of."""
        return self.offset + (sum(self.run_bytes) or len(self.data))


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
        self._records = _NONE
        self._first = 0
        """The number of the first record at hand."""
        self._last: int | None = None
        """The number of the last record that was read."""
        self.offset = offset
        """May be set to a later one."""

    def read(
        self, end: int, max_bytes: int, source: OutputSource | None = None, *, mixed: bool = False
    ) -> Chunk | Gap | Passed:
        """Returns what stands at the cursor, and moves behind it.

        A chunk is as long as one source wrote without the other in between, or with `mixed` as long as
        there is output; but it ends at `end`, at the next multiple of `max_bytes`, and behind `PAGE`
        records. With a source, what the other wrote is passed. `end` is greater than the cursor's offset,
        and no more than the log's size.

        Raises:
            LogCorrupt: the files are not what the writer left.
        """
        limit = min(end, (self.offset // max_bytes + 1) * max_bytes)
        piece = self._read(end, limit, source, mixed=mixed)
        # What was given up meanwhile reads as zeros, whatever `_read` has made of it.
        start = self._files.header().start
        if start > self.offset:
            self._records, self._last = _NONE, None
            piece = Gap(self.offset, min(start, end), _RELEASED)
        if piece is None:
            raise LogCorrupt(
                f"the log has no bytes or no record of offset {self.offset}, but should up to {end}"
            )
        self.offset = piece.end
        if self._records.find(self.offset) is None:
            # A follower may wait for hours, and thousands of records take more than a megabyte.
            self._records = _NONE
        return piece

    def _read(
        self, end: int, limit: int, source: OutputSource | None, *, mixed: bool
    ) -> Chunk | Gap | Passed | None:
        """Returns what the files have here, None if that is nothing; a chunk ends at the limit."""
        at = self._find_record()
        if at is None:
            return None
        found = self._records.source(at)
        if found is None:
            return Gap(self.offset, min(self._records.end(at), end), _LOST)
        if source is not None and found is not source:
            at, stop = self._run(at, (LOST, source), limit)
            return Passed(self.offset, min(self._records.end(stop - 1), limit))
        at, stop = self._run(at, (LOST,) if mixed else other_kinds(found), limit)
        data = self._bytes(behind := min(self._records.end(stop - 1), limit))
        if data is None:
            return None
        spans = self._records.spans(at, stop, self.offset, behind)
        runs = self._records.runs(at, stop, self.offset, behind)
        if runs and source is not None:
            data = _every_other(data, runs)
        return Chunk(self.offset, found, self._records.time_ns(at), data, *spans, runs)

    def _run(self, at: int, until: Sequence[int], limit: int) -> tuple[int, int]:
        """Returns from where to where records at hand go on without one of some kinds, up to the limit.

        Where that stops does not depend on where the reader began: so readers come to share their chunks.
        """
        most = PAGE - (self._first + at) % PAGE
        while True:
            bound = min(at + most, len(self._records))
            stop = min(self._records.first_of(until, at), bound)
            if stop < bound or bound == at + most or self._records.end(stop - 1) >= limit:
                return at, self._records.first_from(limit, at, stop)
            count = len(self._records) - at
            self._load(self._first + at, min(max(count * _GROWTH, _FIRST_LOAD), most))
            at = 0
            if len(self._records) <= count:
                most = len(self._records)

    def _bytes(self, end: int) -> bytes | None:
        data = os.pread(self._files.data, end - self.offset, self.offset)
        while (at := self.offset + len(data)) < end:
            more = os.pread(self._files.data, end - at, at)
            if not more:
                return None
            data += more
        return data

    def _find_record(self) -> int | None:
        """Returns the index, among the records at hand, of the one that the cursor's offset lies in."""
        at = self._records.find(self.offset)
        if at is None and self._last is not None:
            # The last record that was read may have grown since: a loss is extended in place.
            self._load(self._last, _FIRST_LOAD)
            at = self._records.find(self.offset)
        if at is None:
            self._load(self._files.number_of(self.offset), _FIRST_LOAD)
            at = self._records.find(self.offset)
        return at

    def _load(self, number: int, count: int) -> None:
        self._first, self._records = number, self._files.columns(number, count)
        self._last = number + len(self._records) - 1 if len(self._records) else None


def _every_other(data: bytes, lengths: Sequence[int]) -> bytes:
    """Returns the first, the third, … of the pieces of data that have these lengths."""
    ends = list(accumulate(lengths))
    return b"".join(data[end - length : end] for end, length in zip(ends[::2], lengths[::2], strict=True))


@contextmanager
def open_cursor(directory: Path, offset: int) -> Iterator[LogCursor]:
    """Opens the log in a job's directory at an offset, and closes it.

    Raises:
        FileNotFoundError: there is no log (any more).
    """
    with open_files(directory) as files:
        yield LogCursor(files, offset)
