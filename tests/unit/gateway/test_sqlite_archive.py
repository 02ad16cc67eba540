"""The archive in a file."""

import os
import re
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archive_suite import ArchiveSuite
from cluster_jobs import final, job_id
from jobworker_gateway.archive.sqlite import SqliteArchive
from jobworker_gateway.engine import ArchivedJob
from jobworkerd.errors import ClusterUnavailable
from jobworkerd.protocol.login_messages import Login
from jobworkerd.startup import CannotStart
from login_suite import LoginSuite, login, session


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[SqliteArchive]:
    """An empty archive."""
    opened = await SqliteArchive.connect(tmp_path / "archive.sqlite")
    yield opened
    await opened.close()


class TestSqlite(ArchiveSuite, LoginSuite):
    """The tests of each archive, with SQLite."""


async def test_jobs_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "archive.sqlite"
    job = final(job_id(0))
    first = await SqliteArchive.connect(file)
    await first.add(ArchivedJob(job))
    await first.close()
    second = await SqliteArchive.connect(file)
    assert await second.find(job.id) == job
    await second.close()


def _modes(directory: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()}


async def test_other_users_of_the_host_cannot_read_the_archive(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        archive = await SqliteArchive.connect(tmp_path / "archive.sqlite")
        await archive.add(ArchivedJob(final(job_id(0))))
    finally:
        os.umask(former)
    modes = _modes(tmp_path)
    await archive.close()
    assert modes == {f"archive.sqlite{suffix}": 0o600 for suffix in ("", "-wal", "-shm")}


async def test_the_archive_of_a_release_without_logins_gets_their_tables(tmp_path: Path) -> None:
    file = tmp_path / "archive.sqlite"
    job = final(job_id(0))
    first = await SqliteArchive.connect(file)
    await first.add(ArchivedJob(job))
    await first.close()
    with sqlite3.connect(file) as connection:
        connection.executescript("DROP TABLE login_token; DROP TABLE user_session")
    connection.close()
    second = await SqliteArchive.connect(file)
    assert await second.find(job.id) == job
    await second.add_login("1", login("CN=alice"))
    await second.add_session("1", session("CN=alice"))
    assert await second.take_login("1") == Login(b"certificate of CN=alice", b"\0chain")
    await second.close()


async def test_a_login_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "archive.sqlite"
    first = await SqliteArchive.connect(file)
    for token in ("1", "2"):
        await first.add_login(token, login("CN=alice"))
    await first.take_login("1")
    await first.close()
    second = await SqliteArchive.connect(file)
    assert [bool((await second.take_login(each)).certificate) for each in ("1", "2")] == [False, True]
    await second.close()


async def test_a_directory_is_not_an_archive(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"archive: .* cannot be used"):
        await SqliteArchive.connect(tmp_path)


async def test_a_damaged_file_is_not_an_archive(tmp_path: Path) -> None:
    file = tmp_path / "archive.sqlite"
    file.write_bytes(b"no database" * 1_000)
    with pytest.raises(CannotStart, match=r"archive: .* cannot be used: file is not a database"):
        await SqliteArchive.connect(file)


async def test_tables_of_another_version_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "archive.sqlite"
    await (await SqliteArchive.connect(file)).close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE archive_version SET version = 2")
    connection.close()
    with pytest.raises(CannotStart, match="its tables have version 2, and this gateway needs 1"):
        await SqliteArchive.connect(file)


async def test_a_file_with_other_tables_is_refused_with_one_reason(tmp_path: Path) -> None:
    file = tmp_path / "other.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE job (other TEXT)")
    connection.close()
    with pytest.raises(CannotStart) as caught:
        await SqliteArchive.connect(file)
    assert re.fullmatch(
        rf"archive: {file} cannot be used: (table job has )?no (such )?column.*; choose another file",
        str(caught.value),
    )


async def test_an_error_of_the_database_is_reported(archive: SqliteArchive, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "archive.sqlite") as connection:
        connection.execute("DROP TABLE label")
    connection.close()
    job = final(job_id(0), labels={"a": "1"})
    with pytest.raises(ClusterUnavailable, match="the archive failed: no such table: label"):
        await archive.add(ArchivedJob(job))
    # The transaction has no effect.
    assert await archive.find(job.id) is None
