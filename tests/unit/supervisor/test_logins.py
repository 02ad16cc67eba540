"""One-time tokens: single use, expiry and bounds."""

from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from jobworkerd import one_time_token
from jobworkerd.protocol.login_messages import CreateLogin, GetSessionKey, Login, LoginToken, RedeemLogin
from jobworkerd.records.session_key import SessionKey
from jobworkerd.records.state_key import StateKey
from jobworkerd.supervisor.logins import Logins


class Fixture:
    """Logins with a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.logins = Logins(AsyncMock(), lambda: self.now)

    async def create(self, subject: str = "CN=alice") -> str:
        """Return a new token."""
        reply = await self.logins.handle(CreateLogin(subject, subject.encode(), b"chain"))
        assert isinstance(reply, LoginToken)
        return reply.token

    async def redeem(self, token: str) -> bytes:
        """Return the certificate of a token; empty if it is not valid."""
        reply = await self.logins.handle(RedeemLogin(token))
        assert isinstance(reply, Login)
        return reply.certificate


@pytest.fixture
def fixture() -> Fixture:
    return Fixture()


async def test_a_token_is_valid_once(fixture: Fixture) -> None:
    token, other = await fixture.create(), await fixture.create("CN=bob")
    assert token != other
    assert [await fixture.redeem(token) for _ in range(2)] == [b"CN=alice", b""]
    assert await fixture.redeem(other) == b"CN=bob"


@pytest.mark.parametrize("token", ["", "guess", "\ud800"])
async def test_an_unknown_token_is_not_valid(fixture: Fixture, token: str) -> None:
    await fixture.create()
    assert await fixture.redeem(token) == b""


async def test_a_token_expires(fixture: Fixture) -> None:
    early, late = await fixture.create(), await fixture.create()
    fixture.now = 59.9
    assert await fixture.redeem(early) == b"CN=alice"
    fixture.now = 60.0
    assert await fixture.redeem(late) == b""


async def test_the_oldest_token_of_a_subject_gives_way(
    fixture: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_time_token, "MAX_PER_SUBJECT", 2)
    other = await fixture.create("CN=bob")
    tokens = [await fixture.create() for _ in range(3)]
    assert [await fixture.redeem(token) for token in tokens] == [b"", b"CN=alice", b"CN=alice"]
    assert await fixture.redeem(other) == b"CN=bob"


async def test_the_oldest_token_gives_way_if_there_are_too_many(
    fixture: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_time_token, "MAX_TOKENS", 2)
    tokens = [await fixture.create(f"CN={number}") for number in range(3)]
    assert [await fixture.redeem(token) for token in tokens] == [b"", b"CN=1", b"CN=2"]


async def test_the_key_survives_a_restart_and_is_not_the_key_of_the_directory(tmp_path: Path) -> None:
    replies = [await Logins(SessionKey(StateKey(tmp_path))).handle(GetSessionKey()) for _ in range(2)]
    assert replies[0] == replies[1]
    assert (tmp_path / "key").read_bytes() not in str(replies[0]).encode()
    (tmp_path / "key").unlink()
    assert await Logins(SessionKey(StateKey(tmp_path))).handle(GetSessionKey()) != replies[0]
