"""Copies the write-ahead log into the database, and shrinks that, in a thread: no event of the loop waits."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from jobworkerd.records import vacuum
from jobworkerd.records.database import connect, disk_errors
from jobworkerd.records.disk_reserve import DiskReserve
from jobworkerd.startup import CannotStart

_COMMITS = 256
"""Commits between two checkpoints, a few MiB."""

_LARGE_LOG_PAGES = 2_048
"""From this size on, commits wait for the last pages to be copied, so that the log starts again."""

_VACUUM_DELAY_SECONDS = 5.0
"""Deleted records are replaced by new ones, or others are deleted, within this time."""

_VACUUM_PAUSE_SECONDS = 0.2


class Checkpointer:
    """Owns the thread and its connection, until `close`."""

    def __init__(self, path: Path, on_failure: Callable[[OSError], None]) -> None:
        """Open a connection in the thread. `on_failure` is called in the event loop.

        Raises:
            CannotStart: the file cannot be opened, or the host is exhausted.
        """
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._reserve = DiskReserve(path)
        self._on_failure = on_failure
        self._commits = 0
        self._running: Future[None] | None = None
        self._vacuum_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        try:
            self._connection, self._can_vacuum = self._thread.submit(self._open).result()
        except (OSError, RuntimeError) as error:  # RuntimeError: the host can have no more threads
            self._thread.shutdown()
            raise CannotStart(
                f"{path} cannot be used by a second thread ({error}); check the disk and the limit of tasks"
            ) from error

    def _open(self) -> tuple[sqlite3.Connection, bool]:
        with disk_errors():
            connection = connect(self._path)
            return connection, vacuum.is_possible(connection)

    def committed(self) -> None:
        """Count a commit, and start a checkpoint after some of them. Return free pages later."""
        self._commits += 1
        if self._commits >= _COMMITS and (self._running is None or self._running.done()):
            self._commits = 0
            self._running = self._thread.submit(self._checkpoint)
        if self._can_vacuum and self._vacuum_timer is None:
            self._vacuum_after(_VACUUM_DELAY_SECONDS)

    def _vacuum_after(self, seconds: float) -> None:
        self._vacuum_timer = self._loop.call_later(seconds, self._vacuum)

    def _vacuum(self) -> None:
        step = self._loop.run_in_executor(self._thread, self._return_pages)
        step.add_done_callback(self._vacuumed)

    def _vacuumed(self, step: "asyncio.Future[bool]") -> None:
        self._vacuum_timer = None
        if step.result() and not self._closed:
            self._vacuum_after(_VACUUM_PAUSE_SECONDS)

    async def sync(self) -> None:
        """Wait until the committed changes survive a loss of power.

        Raises:
            OSError: the disk failed.
        """
        await self._loop.run_in_executor(self._thread, self._sync)

    def close(self) -> None:
        """Copy the rest and close the connection."""
        self._closed = True
        if self._vacuum_timer:
            self._vacuum_timer.cancel()
        self._thread.submit(self._checkpoint, "TRUNCATE")
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

    def _return_pages(self) -> bool:
        """Return some free pages; return False if none are left to return, or if this is not possible now."""
        try:
            with disk_errors():
                returned = vacuum.return_pages(self._connection)
        except OSError:
            # The next commit tries again. Commits and checkpoints report a disk that fails.
            return False
        if returned:
            self._checkpoint()
        return returned

    def _sync(self) -> None:
        # SQLite holds no lock on this file, so opening and closing it drops none.
        log = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(log)
        finally:
            os.close(log)

    def _checkpoint(self, mode: str = "PASSIVE") -> None:
        try:
            with disk_errors():
                self._copy(mode)
            self._reserve.fill()
        except OSError as error:
            self._loop.call_soon_threadsafe(self._on_failure, error)

    def _copy(self, mode: str) -> None:
        # The first passes copy most pages without a lock.
        for each in (mode, mode, "RESTART"):
            busy, pages, _ = self._connection.execute(f"PRAGMA wal_checkpoint({each})").fetchone()
            if pages < _LARGE_LOG_PAGES and not busy:
                return
