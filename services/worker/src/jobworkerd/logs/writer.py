"""Writes a log. The writer accepts every byte, even if the disk fails, and loses none if it is killed.

The kernel moves bytes from a pipe to the log with splice(2), so each byte is in one of them at any moment.
The intent in the index has their source until their record is written (see `recovery`). Where splice(2)
fails, bytes are copied. A kill between the two calls of a copy can lose them, but their number is in the
intent.

Bytes that the disk refuses (ENOSPC, EIO) become a record of the lost range, so that the log never has a
silent hole. That record must not need disk space, which has just run out. Records are therefore only written
into preallocated space of the index, and the last free record is reserved for a loss.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from jobworkerd.logs.files import LogFiles, open_both, open_files
from jobworkerd.logs.format import (
    HEADER,
    MAX_RECORD_LENGTH,
    RECORDS_AHEAD,
    Header,
    Record,
    pack,
    pack_intent,
    record_position,
)
from jobworkerd.logs.pipe import readable_bytes
from jobworkerd.logs.recovery import End, recover
from jobworkerd.logs.retention import Extent, extent_of, trim
from jobworkerd.logs.totals import LogTotals
from jobworkerd.model import OutputSource

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""Includes read access: posix_fallocate(3) needs it on file systems without fallocate."""

MOST_BYTES = 1 << 20
"""Maximum bytes to move or to copy at once: a whole enlarged pipe."""

OnGrowth = Callable[["LogWriter", int], None]


class LogWriter:
    """The only writer of a log; owns its two file descriptors until `close`."""

    def __init__(
        self, files: LogFiles, end: End, on_growth: OnGrowth | None, totals: LogTotals | None
    ) -> None:
        """Take over the open files of a log, which ends at `end`; see `create` and `resume`."""
        self.extent = end.extent
        self._files = files
        self._last = end.last
        self._space = end.space
        self._time_ns = end.last.time_ns if end.last else 0
        self._on_growth = on_growth
        self._totals = totals or LogTotals()
        self._suspended: Path | None = None
        """The directory of a resumed log that could not be opened yet."""
        self._unrecorded = 0
        self._intent: OutputSource | None = None
        """The source in the intent for the next byte."""

    @classmethod
    def create(
        cls, directory: Path, on_growth: OnGrowth | None = None, totals: LogTotals | None = None
    ) -> Self:
        """Create the files in an existing directory.

        `on_growth` is called with the number of bytes by which the log has grown. `totals` counts the output.

        Raises:
            OSError: the files cannot be created or already exist. No descriptor remains open.
        """
        writer = cls(open_both(directory, _NEW_FILE), End(Extent(), None, 0), on_growth, totals)
        try:
            writer._preallocate()
            os.pwrite(writer._files.index, HEADER.pack(*Header(0, 0)), 0)
        except OSError:
            writer.close()
            raise
        return writer

    @classmethod
    def resume(
        cls, directory: Path, on_growth: OnGrowth | None = None, totals: LogTotals | None = None
    ) -> Self:
        """Continue the log of a writer that died, after its last byte; see `recovery`.

        If the disk is broken or the host is exhausted, the writer repeats this with each output. Until then,
        output is lost.

        Raises:
            FileNotFoundError: the directory has no log.
        """
        writer = cls(LogFiles(-1, -1), End(Extent(), None, 0), on_growth, totals)
        writer._suspended = directory
        try:
            writer._attach()
        except FileNotFoundError:
            raise
        except OSError:
            # The size must not seem to decrease.
            with suppress(OSError), open_files(directory) as files:
                writer.extent = extent_of(files)
        return writer

    def _attach(self) -> None:
        """Open and repair the files of a suspended log.

        Raises:
            OSError: the files cannot be opened or repaired. No descriptor remains open.
        """
        assert self._suspended
        files = open_both(self._suspended, os.O_RDWR | os.O_CLOEXEC)
        try:
            end = recover(files)
        except OSError:
            files.close()
            raise
        self._files, self.extent, self._last, self._space = files, *end
        self._time_ns = max(self._time_ns, end.last.time_ns if end.last else 0)
        self._suspended = None

    def _reattach(self) -> None:
        if self._suspended:
            stored = self.extent.stored
            self._attach()
            self._report_growth(stored)

    @property
    def size(self) -> int:
        """Number of appended bytes, including lost and trimmed ones."""
        return self.extent.size

    @property
    def suspended(self) -> bool:
        """Whether this is a resumed log that could not be opened yet."""
        return self._suspended is not None

    @property
    def unrecorded(self) -> int:
        """Number of lost bytes without a record, because the index could not be written either."""
        return self._unrecorded

    def splice(self, pipe: int, source: OutputSource, time_ns: int) -> int:
        """Move up to `MOST_BYTES` from a pipe to the end of the log, and return their number.

        The result is 0 at the end of the pipe. Times in a log never decrease, even if the clock does.

        Raises:
            BlockingIOError: the pipe is empty.
            OSError: the bytes cannot be moved, and are still in the pipe; see `copy`.
        """
        self._reattach()
        stored = self.extent.stored
        if self._unrecorded:
            self._lose(self._unrecorded)
        if not self._has_space():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._intent is not source:
            self._intend(source)
        count = os.splice(pipe, self._files.data, MOST_BYTES, None, self.size, os.SPLICE_F_NONBLOCK)
        if count:
            self._time_ns = max(self._time_ns, time_ns)
            self._unrecorded = count
            with suppress(OSError):  # the loss is recorded when the index can be written again
                self._add(Record(self.size, self._time_ns, count, source))
        self._report_growth(stored)
        return count

    def copy(self, pipe: int, source: OutputSource, buffer: memoryview, time_ns: int) -> int:
        """Copy the bytes of a pipe or a terminal that fit into a buffer, and return their number.

        The pipe is read even if the bytes cannot be stored. The result is 0 at the end of the pipe.

        Raises:
            BlockingIOError: the pipe is empty.
            OSError: the pipe cannot be read.
        """
        # A terminal can report 0 although it has output.
        most, count = max(min(readable_bytes(pipe), len(buffer), MOST_BYTES), 1), 0
        has_intent = self._try_to_intend(source, most)
        try:
            count = os.readv(pipe, [buffer[:most]])
        finally:
            if not count:
                self._try_to_intend(source)
        if has_intent:
            self.append(source, buffer[:count], time_ns)
        else:  # after a kill, the bytes in the file would belong to an earlier intent
            self._unrecorded += count
            self.record_loss()
        return count

    def append(self, source: OutputSource, data: memoryview, time_ns: int) -> None:
        """Append bytes of the job."""
        stored = self.extent.stored
        self._time_ns = max(self._time_ns, time_ns)
        lost_before, self._unrecorded = self._unrecorded, self._unrecorded + len(data)
        try:
            if lost_before:
                self._lose(lost_before)
            written = self._write(data) if self._has_space() else 0
            if written:
                self._add(Record(self.size, self._time_ns, written, source))
            if self._unrecorded:
                self._lose(self._unrecorded)
        except OSError:
            # Even the index cannot be written. The loss is recorded when it can be written again.
            pass
        self._report_growth(stored)

    def record_loss(self) -> None:
        """Retry to record bytes that were lost without a record."""
        with suppress(OSError):
            self._reattach()
            stored = self.extent.stored
            if self._unrecorded:
                self._lose(self._unrecorded)
                self._report_growth(stored)

    def _report_growth(self, stored_before: int) -> None:
        if self._on_growth:
            self._on_growth(self, self.extent.stored - stored_before)

    def trim(self, most: int) -> None:
        """Trim the oldest bytes so that the log takes at most `most` bytes.

        Raises:
            OSError: the disk failed.
        """
        self.extent = trim(self._files, self.extent, most)

    def close(self) -> None:
        """Close the file descriptors. The index keeps its preallocated space of less than a block."""
        if not self._suspended:
            self._files.close()

    def _write(self, data: memoryview) -> int:
        """Write the bytes, and return how many of them reached the file."""
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._files.data, data[done:], self.size + done)
        except OSError:
            pass
        return done

    def _has_space(self) -> bool:
        if self._space - self.extent.records < 2:
            try:
                self._preallocate()
            except OSError:
                return False
        return True

    def _preallocate(self) -> None:
        ahead = self._space + RECORDS_AHEAD
        # Allocation from 0 on would fill the hole of trimmed records.
        begin = record_position(self._space) if self._space else 0
        os.posix_fallocate(self._files.index, begin, record_position(ahead) - begin)
        self._space = ahead

    def _lose(self, length: int) -> None:
        last, number = self._last, self.extent.records
        if last and last.source is None and last.length + length <= MAX_RECORD_LENGTH:
            self._record(last._replace(length=last.length + length), number - 1)
        else:
            self._add(Record(self.size, self._time_ns, length, None))

    def _add(self, record: Record) -> None:
        self._record(record, self.extent.records)

    def _record(self, record: Record, number: int) -> None:
        # The next bytes probably have the same source, so that their intent needs no further write.
        source, self._intent = record.source, None
        intent = pack_intent(record.end, source) if source else b""
        os.pwrite(self._files.index, pack(record) + intent, record_position(number))
        self._intent = source
        self._last = record
        added = record.end - self.size
        self._totals.add(added, lost=source is None)
        self._unrecorded -= added
        self.extent = self.extent._replace(size=record.end, records=number + 1)

    def _try_to_intend(self, source: OutputSource, copied: int = 0) -> bool:
        """Store the source of the next bytes, and return whether the disk has it."""
        with suppress(OSError):
            self._intend(source, copied)
            return True
        return False

    def _intend(self, source: OutputSource, copied: int = 0) -> None:
        self._intent = None
        intent = pack_intent(self.size, source, copied)
        os.pwrite(self._files.index, intent, record_position(self.extent.records))
        if not copied:
            self._intent = source
