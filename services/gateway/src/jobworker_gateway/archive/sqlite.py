"""The archive of a single gateway, in a file."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from jobworker_gateway.archive.sql_archive import DatabaseFailed, Rows, SqlArchive
from jobworker_gateway.archive.statements import Statement, Types
from jobworkerd.startup import CannotStart

T = TypeVar("T")

_TYPES = Types(text="TEXT", binary="BLOB", number="INTEGER PRIMARY KEY")

_BUSY_SECONDS = 5.0

_MODE = 0o600
"""Jobs and other users of the host must not read the records. SQLite gives its other files the same mode."""


class SqliteArchive(SqlArchive):
    """An archive in one file. One thread uses the connection, so that the disk does not delay other calls."""

    position = "instr"
    now_ms = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """Open the archive in a file, which is created if it is missing.

        Raises:
            CannotStart: the file cannot be used.
        """
        thread = ThreadPoolExecutor(1, "archive")
        try:
            connection = await asyncio.wrap_future(thread.submit(_open, path))
        except sqlite3.Error as error:
            thread.shutdown()
            raise CannotStart(f"archive: {path} cannot be used: {error}; choose another file") from error
        archive = cls(connection, thread)
        try:
            await archive.open(_TYPES)
        except DatabaseFailed as error:
            await archive.close()
            raise CannotStart(f"archive: {path} cannot be used: {error}; choose another file") from error
        except CannotStart:
            await archive.close()
            raise
        return archive

    async def close(self) -> None:
        await asyncio.wrap_future(self._thread.submit(self._connection.close))
        self._thread.shutdown()

    async def _fetch(self, query: Statement) -> Rows:
        return await self._run(lambda: self._connection.execute(query.sql, tuple(query.arguments)).fetchall())

    async def _commit(self, transaction: Sequence[Statement]) -> int:
        return await self._run(lambda: self._execute(transaction))

    def _execute(self, transaction: Sequence[Statement]) -> int:
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            first, *others = transaction
            count = self._connection.execute(first.sql, tuple(first.arguments)).rowcount
            for each in others if count else ():
                self._connection.execute(each.sql, tuple(each.arguments))
        return count

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            # A caller that is cancelled does not cancel a statement that has started.
            return await asyncio.wrap_future(self._thread.submit(work))
        except sqlite3.Error as error:
            raise DatabaseFailed(str(error)) from error


def _open(path: Path) -> sqlite3.Connection:
    with suppress(OSError):  # SQLite reports why the file cannot be created
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # The cluster forgets a job once it is archived, so that a commit has to survive a power failure.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
