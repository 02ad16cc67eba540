"""A position in a log. Each read advances it.

History and live output are the same read. A cursor does not read beyond the published end of the log. It
therefore only sees complete bytes and records (see `format`), or ranges that were trimmed since.
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
"""Number of records to read first, and the factor by which to read more."""

_NONE = Records(b"")

_LOST = "the server could not store it"
_GONE = "the server's disk lost it"
_TRIMMED = "the server trimmed it because the log reached its size limit"


class Chunk(NamedTuple):
    """Bytes of one source, or of both sources alternately.

    `time_ns` is when the first byte was read from the job, and `source` is the source of the first byte.
    `span_bytes` and `span_usec` are the lengths of the spans of one time and their times after `time_ns`.
    `run_bytes` are the lengths of the runs of one source. Empty sequences mean one span or one run.
    For a reader of one source, `run_bytes` has the lengths of all runs, but `data` only contains that source.
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
        """The offset after the last byte that the chunk covers."""
        return self.offset + (sum(self.run_bytes) or len(self.data))


class Gap(NamedTuple):
    """A range that is missing in the log."""

    offset: int
    end: int
    reason: str


class Skipped(NamedTuple):
    """A range of the other source, which the reader did not request."""

    offset: int
    end: int


class LogCursor:
    """A position in a log, and the open files of the log; see `open_cursor`."""

    def __init__(self, files: LogFiles, offset: int) -> None:
        self._files = files
        self._records = _NONE
        self._first = 0
        """The index of the first loaded record."""
        self._last: int | None = None
        """The index of the last record that was read."""
        self.offset = offset
        """The position; callers can increase it."""

    def read(
        self, end: int, max_bytes: int, source: OutputSource | None = None, *, mixed: bool = False
    ) -> Chunk | Gap | Skipped:
        """Return the output, gap or skipped range at the cursor, and move the cursor after it.

        A chunk ends where the other source has output, unless `mixed` is set. It also ends at `end`, at the
        next multiple of `max_bytes`, and after `PAGE` records. With `source`, output of the other source is
        skipped. `end` is greater than the cursor's offset and at most the size of the log.
        """
        limit = min(end, (self.offset // max_bytes + 1) * max_bytes)
        piece = self._read(end, limit, source, mixed=mixed)
        # Bytes that were trimmed during the read are zeros, so the result of `_read` is not valid.
        start = self._files.header().start
        if start > self.offset:
            self._records, self._last = _NONE, None
            piece = Gap(self.offset, min(start, end), _TRIMMED)
        if piece is None:
            piece = self._missing(end, limit)
        self.offset = piece.end
        if self._records.find(self.offset) is None:
            # A follower can wait for hours, and thousands of records take more than a megabyte.
            self._records = _NONE
        return piece

    def _read(
        self, end: int, limit: int, source: OutputSource | None, *, mixed: bool
    ) -> Chunk | Gap | Skipped | None:
        """Return the result of `read`, or None if the files lack something; a chunk ends at the limit."""
        at = self._find_record()
        if at is None:
            return None
        found = self._records.source(at)
        if found is None:
            return Gap(self.offset, min(self._records.end(at), end), _LOST)
        if source is not None and found is not source:
            at, stop = self._run(at, (LOST, source), limit)
            return Skipped(self.offset, min(self._records.end(stop - 1), limit))
        at, stop = self._run(at, (LOST,) if mixed else other_kinds(found), limit)
        data = self._bytes(behind := min(self._records.end(stop - 1), limit))
        if data is None:
            return None
        spans = self._records.spans(at, stop, self.offset, behind)
        runs = self._records.runs(at, stop, self.offset, behind)
        if runs and source is not None:
            data = _every_other(data, runs)
        return Chunk(self.offset, found, self._records.time_ns(at), data, *spans, runs)

    def _missing(self, end: int, limit: int) -> Chunk | Gap:
        """Return what a loss of power has left of the record at the cursor, or a gap."""
        at = self._find_record()
        if at is None:
            following = self._files.records(self._files.record_index(self.offset), 1)
            begin = following[0].offset if following else end
            return Gap(self.offset, min(begin, end) if begin > self.offset else end, _GONE)
        behind, source = min(self._records.end(at), limit), self._records.source(at)
        data = os.pread(self._files.data, behind - self.offset, self.offset)
        if data and source:
            return Chunk(self.offset, source, self._records.time_ns(at), data)
        return Gap(self.offset, min(self._records.end(at), end), _GONE)

    def _run(self, at: int, until: Sequence[int], limit: int) -> tuple[int, int]:
        """Return the first and the end index of a run of loaded records without the kinds `until`, up to the
        limit.

        The end does not depend on the start of the reader, so that readers converge to the same chunks.
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
        """Return the index, among the loaded records, of the record that contains the cursor's offset."""
        at = self._records.find(self.offset)
        if at is None and self._last is not None:
            # The last record can have grown since it was read, because a loss is extended in place.
            self._load(self._last, _FIRST_LOAD)
            at = self._records.find(self.offset)
        if at is None:
            self._load(self._files.record_index(self.offset), _FIRST_LOAD)
            at = self._records.find(self.offset)
        return at

    def _load(self, number: int, count: int) -> None:
        self._first, self._records = number, self._files.columns(number, count)
        self._last = number + len(self._records) - 1 if len(self._records) else None


def _every_other(data: bytes, lengths: Sequence[int]) -> bytes:
    """Return the first, the third, … of the consecutive pieces of data with these lengths."""
    ends = list(accumulate(lengths))
    return b"".join(data[end - length : end] for end, length in zip(ends[::2], lengths[::2], strict=True))


@contextmanager
def open_cursor(directory: Path, offset: int) -> Iterator[LogCursor]:
    """Open the log in a job's directory at an offset, and close it afterwards.

    Raises:
        FileNotFoundError: the directory has no log, or has it no longer.
    """
    with open_files(directory) as files:
        yield LogCursor(files, offset)
