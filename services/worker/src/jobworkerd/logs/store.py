"""All jobs' logs, and the space that they may take: each of them, and all together."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from jobworkerd.logs.deferred_reclaim import Remains
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import data_file, index_file
from jobworkerd.logs.retention import Extent, release
from jobworkerd.logs.writer import LogWriter

NEXT = "next"
"""The directory of the log that was prepared for the next job."""

_MOST_AT_ONCE = 16 * 1024 * 1024
"""Bytes: making a larger hole takes a file system long enough for other jobs to notice."""


class LogStore:
    """The owner of the jobs' directories below one, and of the logs that are being written.

    Where the logs outgrow `max_bytes` each, or `max_total_bytes` together, the oldest bytes are given up:
    those of the logs that ended first, and then those of the longest one.
    """

    def __init__(
        self, jobs_dir: Path, max_bytes: int, max_total_bytes: int, on_error: Callable[[OSError], None]
    ) -> None:
        """`on_error` is called when space could not be given back, and when a loss could not be recorded."""
        self._jobs_dir = jobs_dir
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._on_error = on_error
        self._next: LogWriter | None = None
        self._live: dict[str, LogWriter] = {}
        self._ended: dict[str, Extent] = {}
        self._remains = Remains()
        self._to_remove: list[Path] = []
        self._total = 0
        self._failing = False

    @property
    def total_bytes(self) -> int:
        """What all logs take, with their indexes."""
        return self._total

    def prepare(self) -> None:
        """Makes the files of the log that is opened next: a file system may take long for that.

        Where it cannot, nothing is missed: whoever opens the log tries again.
        """
        if self._next is None:
            with contextlib.suppress(OSError):
                self._next = self._make(self._next_directory)

    def open(self, job_id: str) -> LogWriter:
        """Makes a log in a new directory.

        Raises:
            OSError: it cannot be made. Nothing is left behind.
        """
        writer = self._next = self._next or self._make(self._next_directory)
        self._next_directory.rename(self._jobs_dir / job_id)
        self._next = None
        self._live[job_id] = writer
        return writer

    def close(self) -> None:
        """Removes the log that was prepared and not opened, and what is left of others."""
        self._remains.close()
        if self._next:
            self._next.close()
            self._next = None
            self._remove(self._next_directory)

    @property
    def _next_directory(self) -> Path:
        return self._jobs_dir / NEXT

    def _make(self, directory: Path) -> LogWriter:
        self._remove_all()
        # For the group that the directory above is of: it may read the logs.
        directory.mkdir(mode=0o750)
        try:
            return LogWriter(directory, self._grown)
        except OSError:
            self._remove(directory)
            raise

    def end(self, job_id: str) -> None:
        """Closes a log, which nobody writes to any more; readers can still open it."""
        writer = self._live.pop(job_id)
        writer.record_loss()
        writer.close()
        if writer.unrecorded:
            what = f"{writer.unrecorded} bytes of output of job {job_id} are lost without a record"
            self._on_error(OSError(errno.EIO, what))
        self._ended[job_id] = writer.extent

    def discard(self, job_id: str) -> None:
        """Removes a log, whether it has ended or not."""
        if job_id in self._live:
            self.end(job_id)
        self._total -= self._ended.pop(job_id).stored
        directory = self._jobs_dir / job_id
        with contextlib.suppress(OSError):  # without it the space is given back at once
            self._remains.keep(data_file(directory))
        self._remove(directory)

    def _remove(self, directory: Path) -> None:
        """Removes a log's directory, now or with the next one; it needs no descriptor."""
        self._to_remove.append(directory)
        self._remove_all()

    def _remove_all(self) -> None:
        try:
            while self._to_remove:
                _remove_log(self._to_remove[0])
                del self._to_remove[0]
        except OSError as error:
            self._on_error(error)

    def give_back(self) -> bool:
        """Gives back a piece of the space of logs that were discarded; tells whether there is more."""
        try:
            return self._remains.give_back()
        except OSError as error:
            self._on_error(error)
            return True

    def _grown(self, writer: LogWriter, more: int) -> None:
        self._total += more
        try:
            self._bound(writer)
        except OSError as error:
            # The job goes on; the next output tries again.
            if not self._failing:
                self._on_error(error)
            self._failing = True
        else:
            self._failing = False

    def _bound(self, writer: LogWriter) -> None:
        if writer.extent.stored > self._max_bytes:
            self._shorten(writer, self._max_bytes - _step(self._max_bytes))
        while self._total > self._max_total_bytes:
            self._give_up_oldest(_step(self._max_total_bytes))

    def _give_up_oldest(self, count: int) -> None:
        for job_id, extent in self._ended.items():
            if extent.stored:
                self._shorten_ended(job_id, extent, extent.stored - count)
                return
        longest = max(self._live.values(), key=lambda writer: writer.extent.stored)
        self._shorten(longest, longest.extent.stored - count)

    def _shorten(self, writer: LogWriter, most: int) -> None:
        stored = writer.extent.stored
        writer.release(max(most, 0))
        self._total -= stored - writer.extent.stored

    def _shorten_ended(self, job_id: str, extent: Extent, most: int) -> None:
        with open_files(self._jobs_dir / job_id, os.O_RDWR) as files:
            self._ended[job_id] = release(files, extent, max(most, 0))
        self._total -= extent.stored - self._ended[job_id].stored


def _remove_log(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        for file in (data_file(directory), index_file(directory)):
            file.unlink(missing_ok=True)
        directory.rmdir()


def _step(bound: int) -> int:
    """Returns how much is given up at once, so that not each byte needs it."""
    return min(bound // 8, _MOST_AT_ONCE)
