"""The archive in a real PostgreSQL server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from archive_suite import ArchiveSuite
from cluster_jobs import final, job_id
from jobworker_gateway.archive import login_statements
from jobworker_gateway.archive.postgres import PostgresArchive
from jobworker_gateway.engine import ArchivedJob
from jobworkerd import one_time_token
from jobworkerd.errors import ClusterUnavailable
from jobworkerd.protocol.login_messages import Login
from jobworkerd.startup import CannotStart
from login_suite import LoginSuite, login, rows, session
from tests.cluster.network import network
from tests.cluster.place import LOOPBACK
from tests.cluster.postgresql import running
from tests.cluster.service import Service


class Server(NamedTuple):
    """A running server, and the URL of its database."""

    service: Service
    url: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests."""
    with running(LOOPBACK, tmp_path_factory.mktemp("postgresql") / "log") as started:
        wait_for(started[1])
        yield Server(*started)


@pytest.fixture
async def archive(server: Server) -> AsyncIterator[PostgresArchive]:
    """An empty archive."""
    await drop_tables(server)
    opened = await PostgresArchive.connect(server.url)
    yield opened
    await opened.close()


def wait_for(url: str) -> None:
    """Wait until a database accepts connections."""
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return


async def drop_tables(server: Server) -> None:
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
        await connection.execute(
            "DROP TABLE IF EXISTS archive_version, label, job, login_token, user_session"
        )


class TestPostgres(ArchiveSuite, LoginSuite):
    """The tests of each archive, with PostgreSQL."""


async def test_several_gateways_create_the_tables_at_the_same_time(server: Server) -> None:
    await drop_tables(server)
    others = await asyncio.gather(*(PostgresArchive.connect(server.url) for _ in range(5)))
    job = final(job_id(0))
    await others[0].add(ArchivedJob(job))
    assert [await each.find(job.id) for each in others] == [job] * 5
    for each in others:
        await each.close()


async def test_two_gateways_agree_on_the_first_record(archive: PostgresArchive, server: Server) -> None:
    other = await PostgresArchive.connect(server.url)
    records = [final(job_id(0), status, labels={"by": status}) for status in ("COMPLETED", "LOST")]
    found = await asyncio.gather(archive.add(ArchivedJob(records[0])), other.add(ArchivedJob(records[1])))
    assert found[0] == found[1] == await archive.find(job_id(0))
    assert found[0] in records
    await other.close()


async def test_one_of_two_gateways_redeems_a_one_time_token(archive: PostgresArchive, server: Server) -> None:
    other = await PostgresArchive.connect(server.url)
    for number in range(20):
        await archive.add_login(str(number), login("CN=alice"))
        taken = await asyncio.gather(*(each.take_login(str(number)) for each in (archive, other) * 4))
        assert sorted(map(bool, (each.certificate for each in taken))) == [False] * 7 + [True]
    await other.close()


async def test_gateways_that_add_logins_at_the_same_time_keep_the_bounds(
    archive: PostgresArchive, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_time_token, "MAX_PER_SUBJECT", 2)
    monkeypatch.setattr(login_statements, "MAX_SESSIONS", 3)
    others = await asyncio.gather(*(PostgresArchive.connect(server.url) for _ in range(3)))
    calls = [
        call
        for number in range(30)
        for each in (archive, *others)
        for call in (
            each.add_login(f"{number} {id(each)}", login("CN=alice")),
            each.add_session(f"{number} {id(each)}", session("CN=alice")),
        )
    ]
    await asyncio.gather(*calls)
    assert [await rows(archive, table) for table in ("login_token", "user_session")] == [2, 3]
    for each in others:
        await each.close()


async def test_the_archive_of_a_release_without_logins_gets_their_tables(
    archive: PostgresArchive, server: Server
) -> None:
    job = final(job_id(0))
    await archive.add(ArchivedJob(job))
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
        await connection.execute("DROP TABLE login_token, user_session")
    upgraded = await PostgresArchive.connect(server.url)
    assert await upgraded.find(job.id) == job
    await upgraded.add_login("1", login("CN=alice"))
    await upgraded.add_session("1", session("CN=alice"))
    assert await upgraded.take_login("1") == Login(b"certificate of CN=alice", b"\0chain")
    await upgraded.close()


async def test_a_host_of_the_database_that_disappears_blocks_no_call(tmp_path: Path) -> None:
    with network() as net:
        place = net.place("database", 1)
        with running(place, tmp_path / "log") as (_, url):
            wait_for(url)
            archive = await PostgresArchive.connect(url)
            async with await psycopg.AsyncConnection.connect(url) as other:
                await other.execute("LOCK TABLE job")
                reading = asyncio.ensure_future(archive.find(job_id(0)))
                while not await waiting(other):
                    await asyncio.sleep(0.05)
                # The database has the query, so that no packet of this host is unacknowledged.
                net.cut(place)
                try:
                    async with asyncio.timeout(60):
                        with pytest.raises(ClusterUnavailable):
                            await reading
                finally:
                    net.heal(place)
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(ClusterUnavailable):
                        assert await archive.find(job_id(0)) is None
                        break
            await archive.close()


async def waiting(connection: psycopg.AsyncConnection) -> bool:
    """Return whether a statement waits for a lock."""
    found = await connection.execute("SELECT FROM pg_locks WHERE NOT granted")
    return bool(found.rowcount)


async def test_the_archive_returns_with_the_database(archive: PostgresArchive, server: Server) -> None:
    job = final(job_id(0))
    await archive.add(ArchivedJob(job))
    server.service.hold()
    with pytest.raises(ClusterUnavailable, match="the archive failed: "):
        await archive.find(job.id)
    server.service.release()
    wait_for(server.url)
    assert await archive.find(job.id) == job


async def test_an_absent_database_is_an_error_at_the_start() -> None:
    with pytest.raises(CannotStart, match="the database cannot be used"):
        await PostgresArchive.connect("host=/nonexistent user=jobworker dbname=postgres")
