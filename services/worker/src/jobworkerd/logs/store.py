"""The logs of all jobs, within a bound per log and a total bound."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from jobworkerd.logs.deferred_reclaim import DeferredReclaim
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import data_file, index_file
from jobworkerd.logs.retention import Extent, trim
from jobworkerd.logs.writer import LogWriter

NEXT = "next"
"""Name of the directory of the log that is prepared for the next job."""

_MOST_AT_ONCE = 16 * 1024 * 1024
"""Maximum bytes to trim in one step, because larger holes delay the output of other jobs."""


class LogStore:
    """Owns the jobs' directories below `jobs_dir`, and the logs that are being written.

    A log that exceeds `max_bytes` is trimmed. If all logs exceed `max_total_bytes`, the logs that ended first
    are trimmed, then the longest log of a running job.
    """

    def __init__(
        self, jobs_dir: Path, max_bytes: int, max_total_bytes: int, on_error: Callable[[OSError], None]
    ) -> None:
        """Call `on_error` if space cannot be reclaimed or a loss cannot be recorded."""
        self._jobs_dir = jobs_dir
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._on_error = on_error
        self._next: LogWriter | None = None
        self._live: dict[str, LogWriter] = {}
        self._ended: dict[str, Extent] = {}
        self._deferred = DeferredReclaim()
        self._to_remove: list[Path] = []
        self._total = 0
        self._failing = False

    @property
    def total_bytes(self) -> int:
        """The space of all logs with their indexes."""
        return self._total

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
            OSError: the log cannot be created. No files remain.
        """
        writer = self._next = self._next or self._make(self._next_directory)
        self._next_directory.rename(self._jobs_dir / job_id)
        self._next = None
        self._live[job_id] = writer
        return writer

    def resume(self, job_id: str) -> LogWriter:
        """Continue the log of a job that is still running, after the writer of an earlier supervisor.

        Raises:
            FileNotFoundError: the job has no log.
            OSError: the log cannot be opened or repaired.
        """
        writer = LogWriter.resume(self._jobs_dir / job_id, self._grown)
        self._live[job_id] = writer
        self._total += writer.extent.stored
        return writer

    def close(self) -> None:
        """Remove the prepared log, and reclaim the space of removed logs."""
        self._deferred.close()
        if self._next:
            self._next.close()
            self._next = None
            self._remove(self._next_directory)

    @property
    def _next_directory(self) -> Path:
        return self._jobs_dir / NEXT

    def _make(self, directory: Path) -> LogWriter:
        self._remove_all()
        # The directory inherits the group of `jobs_dir`, which can read the logs.
        directory.mkdir(mode=0o750)
        try:
            return LogWriter.create(directory, self._grown)
        except OSError:
            self._remove(directory)
            raise

    def end(self, job_id: str) -> None:
        """Close a log for writing; readers can still open it."""
        writer = self._live.pop(job_id)
        writer.record_loss()
        writer.close()
        if writer.unrecorded:
            what = f"{writer.unrecorded} bytes of output of job {job_id} are lost without a record"
            self._on_error(OSError(errno.EIO, what))
        self._ended[job_id] = writer.extent

    def discard(self, job_id: str) -> None:
        """Remove a log, even if it has not ended."""
        if job_id in self._live:
            self.end(job_id)
        self._total -= self._ended.pop(job_id, Extent()).stored  # an earlier server can have written it
        directory = self._jobs_dir / job_id
        with contextlib.suppress(OSError):  # otherwise the space is reclaimed immediately
            self._deferred.add(data_file(directory))
        self._remove(directory)

    def _remove(self, directory: Path) -> None:
        """Remove the directory of a log, now or together with the next one. This needs no descriptor."""
        self._to_remove.append(directory)
        self._remove_all()

    def _remove_all(self) -> None:
        try:
            while self._to_remove:
                _remove_log(self._to_remove[0])
                del self._to_remove[0]
        except OSError as error:
            self._on_error(error)

    def reclaim(self) -> bool:
        """Reclaim a piece of the space of discarded logs, and return whether more remains."""
        try:
            return self._deferred.reclaim()
        except OSError as error:
            self._on_error(error)
            return True

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
        while self._total > self._max_total_bytes:
            self._trim_oldest(_step(self._max_total_bytes))

    def _trim_oldest(self, count: int) -> None:
        for job_id, extent in self._ended.items():
            if extent.stored:
                self._trim_ended(job_id, extent, extent.stored - count)
                return
        longest = max(self._live.values(), key=lambda writer: writer.extent.stored)
        self._trim(longest, longest.extent.stored - count)

    def _trim(self, writer: LogWriter, most: int) -> None:
        stored = writer.extent.stored
        writer.trim(max(most, 0))
        self._total -= stored - writer.extent.stored

    def _trim_ended(self, job_id: str, extent: Extent, most: int) -> None:
        with open_files(self._jobs_dir / job_id, os.O_RDWR) as files:
            self._ended[job_id] = trim(files, extent, max(most, 0))
        self._total -= extent.stored - self._ended[job_id].stored


def _remove_log(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        for file in (data_file(directory), index_file(directory)):
            file.unlink(missing_ok=True)
        directory.rmdir()


def _step(bound: int) -> int:
    """Return how much to trim in one step, so that not every write needs one."""
    return min(bound // 8, _MOST_AT_ONCE)
