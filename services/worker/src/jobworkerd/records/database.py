"""Opens the database file, migrates it to the current version and translates SQLite's errors."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobworkerd.records.disk_reserve import DiskReserve
from jobworkerd.records.schema import MIGRATIONS, VERSION
from jobworkerd.startup import CannotStart

FILE_NAME = "jobworker.db"

_MODE = 0o600
_CACHE_KIB = 512
_WAL_BYTES = 16 * 1024 * 1024
"""The write-ahead log is truncated to this size after a burst of writes."""

_RESERVED_BYTES = 4 * 1024 * 1024
"""Space in the write-ahead log for the results of running jobs on a full disk, about 150 commits."""

_LOW_CODE = 0xFF
_ERRNOS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
    sqlite3.SQLITE_BUSY: errno.EAGAIN,
    sqlite3.SQLITE_LOCKED: errno.EAGAIN,
}


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise an OSError for each error of SQLite that a disk can cause.

    Raises:
        OSError: the database cannot be read or written.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        number = _ERRNOS.get(code & _LOW_CODE, errno.EIO)
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        raise OSError(number, f"{os.strerror(number)} ({name}: {error})", FILE_NAME) from error


def open_database(directory: Path) -> sqlite3.Connection:
    """Open the database of a state directory; create or migrate it if necessary.

    The connection is in autocommit mode and never checkpoints.

    Raises:
        CannotStart: the file cannot be used, is damaged, or a newer version has written it.
    """
    path = directory / FILE_NAME
    reserve = DiskReserve(path)
    try:
        connection = _open_on_full_disk(path, reserve)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error
    reserve.fill()
    return connection


def _open_on_full_disk(path: Path, reserve: DiskReserve) -> sqlite3.Connection:
    """Open the database, with the space of the reserve if the disk is full."""
    try:
        return _open(path)
    except sqlite3.OperationalError as error:
        if not (_can_be_full(error) and reserve.free()):
            raise
        return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    # SQLite gives the files beside the database its mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
    connection = connect(path)
    try:
        _migrate(connection, path)
        _allocate_log(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _can_be_full(error: sqlite3.Error) -> bool:
    return _code(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _LOW_CODE


def connect(path: Path) -> sqlite3.Connection:
    """Return a new connection to an existing file, which is empty or a database.

    Raises:
        OSError: the file cannot be examined.
        sqlite3.Error: the file cannot be used.
    """
    # Only an empty file can be prepared for `vacuum`.
    first = ["auto_vacuum = INCREMENTAL"] if path.stat().st_size == 0 else []
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            *first,
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {_WAL_BYTES}",
            f"cache_size = -{_CACHE_KIB}",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise CannotStart(
            f"{path} has version {version}, but this server reads versions up to {VERSION}; "
            "install the release that wrote it, or choose another directory with --state-dir"
        )
    for number in range(version, VERSION):
        with transaction(connection):
            for statement in MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
    connection.execute("SELECT final_jobs, stored_bytes FROM total").fetchone()


def _allocate_log(connection: sqlite3.Connection, path: Path) -> None:
    """Allocate the first part of the write-ahead log, which SQLite writes again and again."""
    with transaction(connection):  # creates the file
        connection.execute("UPDATE total SET final_jobs = final_jobs")
    with suppress(OSError):  # the disk is almost full, or its file system cannot allocate
        log = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(log, 0, _RESERVED_BYTES)
        finally:
            os.close(log)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit the statements of the block, or none of them.

    Raises:
        sqlite3.Error: the block or the commit failed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk can have ended the transaction already.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _unusable(path: Path, error: OSError | sqlite3.Error) -> CannotStart:
    if isinstance(error, OSError) or _code(error) in {
        *_ERRNOS,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
    }:
        why = error.strerror if isinstance(error, OSError) else error
        return CannotStart(
            f"{path} cannot be read and written ({why}); check the disk and the permissions of its "
            "directory, or choose another directory with --state-dir"
        )
    return CannotStart(
        f"{path} is damaged ({error}); restore it and the files {path.name}-wal and {path.name}-shm from a "
        "backup, or move them away to start without the records and logs of earlier jobs"
    )
