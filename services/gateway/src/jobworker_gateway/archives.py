"""Opens the archive that the settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jobworker_gateway.archive.sql_archive import SqlArchive

_SQLITE = "sqlite:"


@asynccontextmanager
async def open_archive(url: str) -> AsyncIterator[SqlArchive]:
    """Open the archive, and close it when the context is left.

    Raises:
        CannotStart: the database cannot be used.
    """
    archive = await _connect(url)
    try:
        yield archive
    finally:
        await archive.close()


async def _connect(url: str) -> SqlArchive:
    # A gateway with SQLite does not load the library of PostgreSQL, and the other way round.
    if url.startswith(_SQLITE):
        from jobworker_gateway.archive.sqlite import SqliteArchive

        return await SqliteArchive.connect(Path(url.removeprefix(_SQLITE)))
    from jobworker_gateway.archive.postgres import PostgresArchive

    return await PostgresArchive.connect(url)
