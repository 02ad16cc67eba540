"""Returns the space of deleted records to the file system."""

import sqlite3
import time

from jobworkerd.records.database import transaction

_KEPT_PAGES = 256
"""Free pages for the next records, 1 MiB."""

_STEP_SECONDS = 0.002
"""Commits wait for the end of a step."""

_INCREMENTAL = 2


def is_possible(connection: sqlite3.Connection) -> bool:
    """Return whether the file can shrink. Files of the first versions cannot.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    return int(mode) == _INCREMENTAL


def return_pages(connection: sqlite3.Connection) -> bool:
    """Move pages from the end of the file into free pages for some milliseconds.

    The file shrinks at the next checkpoint. The result is False if no free page has to be returned.

    Raises:
        sqlite3.Error: the file is locked, or cannot be read or written.
    """
    if not _can_return(connection):
        return False
    deadline = time.monotonic() + _STEP_SECONDS
    with transaction(connection):
        while _can_return(connection) and time.monotonic() < deadline:
            connection.execute("PRAGMA incremental_vacuum(1)")
    return True


def _can_return(connection: sqlite3.Connection) -> bool:
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(free) > _KEPT_PAGES
