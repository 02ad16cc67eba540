"""The logs of all jobs, within a bound per log and a total bound."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from jobworkerd.errors import HostExhausted
from jobworkerd.logs.deferred_reclaim import DeferredReclaim
from jobworkerd.logs.directory import remove_log, stored_bytes
from jobworkerd.logs.ended import EndedLogs, EndedLogsInMemory
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import data_file
from jobworkerd.logs.retention import extent_of, trim
from jobworkerd.logs.totals import LogTotals
from jobworkerd.logs.writer import LogWriter

NEXT = "next"
"""Name of the directory of the log that is prepared for the next job."""

_MOST_AT_ONCE = 16 * 1024 * 1024
"""Maximum bytes to trim in one step, because larger holes delay the output of other jobs."""

_LOGS_PER_OUTPUT = 64
"""Maximum number of ended logs to trim after output, because each takes about 0.1 ms."""

_BROKEN_DISK = frozenset({errno.EROFS, errno.EIO})
"""Errors that do not mean exhaustion for other calls (see `exhaustion`)."""


class LogStore:
    """Owns the jobs' directories below `jobs_dir`, and the logs that are being written.

    A log that exceeds `max_bytes` is trimmed. If all logs exceed `max_total_bytes`, the logs that ended first
    are trimmed, then the longest log of a running job.
    """

    def __init__(
        self,
        jobs_dir: Path,
        max_bytes: int,
        max_total_bytes: int,
        on_error: Callable[[OSError], None],
        ended: EndedLogs | None = None,
    ) -> None:
        """Call `on_error` if space cannot be reclaimed or a loss cannot be recorded.

        `ended` has the logs of final jobs. Without it, the space of earlier logs is unknown.
        """
        self._jobs_dir = jobs_dir
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._on_error = on_error
        self._next: LogWriter | None = None
        self._live: dict[str, LogWriter] = {}
        self._ended = ended or EndedLogsInMemory()
        self._deferred = DeferredReclaim()
        # An earlier supervisor can have left the log that it had prepared.
        self._to_remove: list[Path] = [self._next_directory]
        self._total = self._ended.total
        self._failing = False
        self._totals = LogTotals()

    @property
    def total_bytes(self) -> int:
        """The space of all logs with their indexes."""
        return self._total

    @property
    def totals(self) -> LogTotals:
        """The output of all jobs, with the losses that the disk has not recorded yet."""
        unrecorded = sum(writer.unrecorded for writer in self._live.values())
        return LogTotals(self._totals.written, self._totals.lost + unrecorded)

    def prepare(self) -> None:
        """Create the files of the next log in advance, because a file system can take long for that.

        Errors are ignored: `open` tries again and reports them.
        """
        if self._next is None:
            with contextlib.suppress(OSError):
                self._next = self._make(self._next_directory)

    def open(self, job_id: str) -> LogWriter:
        """Create a log in a new directory.

        Raises:
            HostExhausted: the disk is read-only or broken. No files remain.
            OSError: the log cannot be created, for example because the disk is full. No files remain.
        """
        try:
            self._check_disk()
            return self._open(job_id)
        except OSError as error:
            if error.errno in _BROKEN_DISK:
                raise HostExhausted(f"the log of the job cannot be created: {error.strerror}") from error
            raise

    def _check_disk(self) -> None:
        """Refuse a job whose output could not be stored, even if its log was prepared before."""
        disk = os.statvfs(self._jobs_dir)
        if disk.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if disk.f_blocks and not disk.f_bfree:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self, job_id: str) -> LogWriter:
        writer = self._next = self._next or self._make(self._next_directory)
        self._next_directory.rename(self._jobs_dir / job_id)
        self._next = None
        self._live[job_id] = writer
        return writer

    def resume(self, job_id: str) -> LogWriter:
        """Continue the log of a job that is still running, after the writer of an earlier supervisor.

        Raises:
            FileNotFoundError: the job has no log.
        """
        writer = LogWriter.resume(self._jobs_dir / job_id, self._grown, self._totals)
        self._live[job_id] = writer
        self._total += writer.extent.stored
        return writer

    def close(self) -> None:
        """Remove the prepared log, and reclaim the space of removed logs.

        The logs of running jobs stay open. Their losses are recorded, because another server can resume them.
        """
        for writer in self._live.values():
            writer.record_loss()
        self._deferred.close()
        if self._next:
            self._next.close()
            self._next = None
            self._remove(self._next_directory)

    @property
    def _next_directory(self) -> Path:
        return self._jobs_dir / NEXT

    def _make(self, directory: Path) -> LogWriter:
        error = self._remove_all()
        if error and directory in self._to_remove:
            raise error
        # The directory inherits the group of `jobs_dir`, which can read the logs.
        directory.mkdir(mode=0o750)
        try:
            return LogWriter.create(directory, self._grown, self._totals)
        except OSError:
            self._remove(directory)
            raise

    def end(self, job_id: str) -> None:
        """Close a log for writing; readers can still open it."""
        writer = self._live.pop(job_id)
        writer.record_loss()
        writer.close()
        if writer.unrecorded:
            self._totals.add(writer.unrecorded, lost=True)
            what = f"{writer.unrecorded} bytes of output of job {job_id} are lost without a record"
            self._on_error(OSError(errno.EIO, what))
        self._ended.set_stored(job_id, writer.extent.stored)

    def end_abandoned(self, job_id: str) -> int:
        """End the log of a job that is lost, and return its size; 0 if the job has no log.

        Raises:
            OSError: the log cannot be opened.
        """
        try:
            writer = self.resume(job_id)
        except FileNotFoundError:
            return 0
        self.end(job_id)
        if writer.suspended and not writer.size:
            raise OSError(errno.EIO, f"the log of job {job_id} cannot be opened")
        return writer.size

    def is_live(self, job_id: str) -> bool:
        """Return whether a log is being written."""
        return job_id in self._live

    def discard(self, job_id: str) -> None:
        """Remove a log, even if it has not ended."""
        if job_id in self._live:
            self.end(job_id)
        self._total -= stored_bytes(self._jobs_dir / job_id)
        self._ended.set_stored(job_id, 0)
        self.remove_files(job_id)

    def remove_files(self, job_id: str) -> None:
        """Remove the files of a log that is not part of `total_bytes`."""
        directory = self._jobs_dir / job_id
        with contextlib.suppress(OSError):  # otherwise the space is reclaimed immediately
            self._deferred.add(data_file(directory))
        self._remove(directory)

    def remove_leftover(self, job_id: str) -> None:
        """Remove the log of a job that never ran, if a supervisor died after it had created the log.

        Raises:
            HostExhausted: the files cannot be removed now.
        """
        directory = self._jobs_dir / job_id
        if os.path.exists(directory):  # noqa: PTH110 - false on a broken disk, which `open` reports
            self.remove_files(job_id)
        if directory in self._to_remove:
            raise HostExhausted("the log of an earlier start of the job cannot be removed")

    def _remove(self, directory: Path) -> None:
        """Remove the directory of a log, now or together with the next one. This needs no descriptor."""
        self._to_remove.append(directory)
        self._remove_all()

    def _remove_all(self) -> OSError | None:
        """Remove the directories of removed logs, and return the error that ended this."""
        try:
            while self._to_remove:
                remove_log(self._to_remove[0])
                del self._to_remove[0]
        except OSError as error:
            self._on_error(error)
            return error
        return None

    def reclaim(self) -> bool:
        """Reclaim a piece of the space of discarded logs, and of ended logs beyond the total bound.

        Returns whether more remains.
        """
        try:
            if self._deferred.reclaim():
                return True
        except OSError as error:
            self._on_error(error)
            return True
        return self._trim_excess()

    def _trim_excess(self) -> bool:
        try:
            return self._total > self._max_total_bytes and self._trim_oldest()
        except OSError as error:
            self._on_error(error)
            return False  # output or the next call retries

    def _grown(self, writer: LogWriter, more: int) -> None:
        self._total += more
        try:
            self._bound(writer)
        except OSError as error:
            # The job continues, and the next output retries.
            if not self._failing:
                self._on_error(error)
            self._failing = True
        else:
            self._failing = False

    def _bound(self, writer: LogWriter) -> None:
        if writer.extent.stored > self._max_bytes:
            self._trim(writer, self._max_bytes - _step(self._max_bytes))
        # If the bound was lowered between two starts, the rest follows with later output and in `reclaim`.
        enough = max(self._max_total_bytes, self._total - 2 * _MOST_AT_ONCE)
        for _ in range(_LOGS_PER_OUTPUT):
            if self._total <= enough or not self._trim_oldest():
                break

    def _trim_oldest(self) -> bool:
        """Trim the oldest log by one step. Return False if no log has any bytes."""
        count = _step(self._max_total_bytes)
        if oldest := self._ended.oldest():
            job_id, stored = oldest
            self._trim_ended(job_id, stored, max(stored - count, 0))
            return True
        longest = max(self._live.values(), key=lambda writer: writer.extent.stored, default=None)
        if longest is None or not longest.extent.stored:
            return False
        self._trim(longest, longest.extent.stored - count)
        return True

    def _trim(self, writer: LogWriter, most: int) -> None:
        stored = writer.extent.stored
        writer.trim(max(most, 0))
        self._total -= stored - writer.extent.stored

    def _trim_ended(self, job_id: str, stored: int, most: int) -> None:
        left = 0
        with contextlib.suppress(FileNotFoundError), open_files(self._jobs_dir / job_id, os.O_RDWR) as files:
            left = trim(files, extent_of(files), most).stored
        self._ended.set_stored(job_id, left)
        self._total -= stored - left


def _step(bound: int) -> int:
    """Return how much to trim in one step, so that not every write needs one."""
    return min(bound // 8, _MOST_AT_ONCE)
