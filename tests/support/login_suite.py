"""Tests of the logins in the archive of a gateway, for each database."""

import asyncio
import time

import pytest

from jobworker_gateway.archive import login_statements
from jobworker_gateway.archive.login_statements import StoredSession
from jobworker_gateway.archive.sql_archive import SqlArchive
from jobworker_gateway.archive.statements import Statement
from jobworkerd import one_time_token
from jobworkerd.protocol.login_messages import CreateLogin, Login

NEVER_MS = 2**53


def login(subject: str) -> CreateLogin:
    """Return the login of a user."""
    return CreateLogin(subject, f"certificate of {subject}".encode(), b"\0chain")


def session(user: str, delegate: str = "CN=dashboard", expire_ms: int = NEVER_MS) -> StoredSession:
    """Return a session with the user as its content."""
    return StoredSession(delegate, user, user.encode(), expire_ms)


async def rows(archive: SqlArchive, table: str) -> int:
    """Return the number of rows of a table."""
    ((count,),) = await archive._read(Statement(f"SELECT count(*) FROM {table}"))
    return int(str(count))


class LoginSuite:
    """The tests. A subclass has the fixture `archive`, an empty archive."""

    async def test_a_one_time_token_is_valid_once(self, archive: SqlArchive) -> None:
        await archive.add_login("1", login("CN=alice"))
        await archive.add_login("2", login("CN=bob"))
        assert [await archive.take_login("1") for _ in range(2)] == [
            Login(b"certificate of CN=alice", b"\0chain"),
            Login(),
        ]
        assert (await archive.take_login("2")).certificate == b"certificate of CN=bob"
        assert await archive.take_login("3") == Login()

    async def test_one_of_concurrent_calls_gets_a_one_time_token(self, archive: SqlArchive) -> None:
        await archive.add_login("1", login("CN=alice"))
        taken = await asyncio.gather(*(archive.take_login("1") for _ in range(20)))
        assert sorted(len(each.certificate) for each in taken) == [0] * 19 + [23]

    async def test_a_one_time_token_expires(self, archive: SqlArchive) -> None:
        for token in ("1", "2", "3"):
            await archive.add_login(token, login("CN=alice"))
        await archive._write((Statement("UPDATE login_token SET expire_ms = 1"),))
        assert await archive.take_login("1") == Login()
        # A new one removes those that have expired.
        await archive.add_login("4", login("CN=bob"))
        assert await rows(archive, "login_token") == 1

    async def test_a_one_time_token_expires_by_the_clock_of_the_database(
        self, archive: SqlArchive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for clock in ("time", "time_ns"):
            monkeypatch.setattr(time, clock, lambda: 0)
        await archive.add_login("1", login("CN=alice"))
        for clock in ("time", "time_ns"):
            monkeypatch.setattr(time, clock, lambda: 2**62)
        assert (await archive.take_login("1")).certificate
        monkeypatch.setattr(one_time_token, "SECONDS", 0.0)
        await archive.add_login("2", login("CN=alice"))
        assert await archive.take_login("2") == Login()

    async def test_the_oldest_one_time_token_of_a_user_gives_way(
        self, archive: SqlArchive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(one_time_token, "MAX_PER_SUBJECT", 2)
        await archive.add_login("other", login("CN=bob"))
        for token in ("1", "2", "3"):
            await archive.add_login(token, login("CN=alice"))
        assert [bool((await archive.take_login(each)).certificate) for each in ("other", "1", "2", "3")] == [
            True,
            False,
            True,
            True,
        ]

    async def test_the_oldest_one_time_token_gives_way_if_there_are_too_many(
        self, archive: SqlArchive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(one_time_token, "MAX_TOKENS", 2)
        for token in ("1", "2", "3"):
            await archive.add_login(token, login(f"CN={token}"))
        assert [bool((await archive.take_login(each)).certificate) for each in ("1", "2", "3")] == [
            False,
            True,
            True,
        ]

    async def test_a_session_is_found_until_it_has_expired(self, archive: SqlArchive) -> None:
        await archive.add_session("1", session("CN=alice"))
        await archive.add_session("2", session("CN=bob", expire_ms=1))
        assert [await archive.find_session(each) for each in ("1", "2", "3")] == [b"CN=alice", None, None]

    async def test_the_oldest_sessions_give_way(
        self, archive: SqlArchive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(login_statements, "MAX_SESSIONS_PER_USER", 2)
        monkeypatch.setattr(login_statements, "MAX_SESSIONS", 3)
        await archive.add_session("another delegate", session("CN=alice", "CN=other"))
        await archive.add_session("bob", session("CN=bob"))
        for token in ("1", "2", "3"):
            await archive.add_session(token, session("CN=alice"))
        assert [await archive.find_session(each) for each in ("bob", "1", "2", "3")] == [
            b"CN=bob",
            None,
            b"CN=alice",
            b"CN=alice",
        ]
        await archive.add_session("carol", session("CN=carol"))
        assert await archive.find_session("bob") is None
        assert await archive.find_session("another delegate") == b"CN=alice"
        assert await rows(archive, "user_session") == 4
