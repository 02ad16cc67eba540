"""Copies the write-ahead log into the database in a thread, so that no event of the loop waits for it."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from jobworkerd.records.database import connect, disk_errors
from jobworkerd.records.disk_reserve import DiskReserve
from jobworkerd.startup import CannotStart

_COMMITS = 256
"""Commits between two checkpoints, a few MiB."""

_LARGE_LOG_PAGES = 2_048
"""From this size on, commits wait for the last pages to be copied, so that the log starts again."""


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
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        try:
            self._connection = self._thread.submit(self._open).result()
        except (OSError, RuntimeError) as error:  # RuntimeError: the host can have no more threads
            self._thread.shutdown()
            raise CannotStart(
                f"{path} cannot be used by a second thread ({error}); check the disk and the limit of tasks"
            ) from error

    def _open(self) -> sqlite3.Connection:
        with disk_errors():
            return connect(self._path)

    def committed(self) -> None:
        """Count a commit, and start a checkpoint after some of them."""
        self._commits += 1
        if self._commits >= _COMMITS and (self._running is None or self._running.done()):
            self._commits = 0
            self._running = self._thread.submit(self._checkpoint)

    async def sync(self) -> None:
        """Wait until the committed changes survive a loss of power.

        Raises:
            OSError: the disk failed.
        """
        await self._loop.run_in_executor(self._thread, self._sync)

    def close(self) -> None:
        """Copy the rest and close the connection."""
        self._thread.submit(self._checkpoint, "TRUNCATE")
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

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
