"""The bounds of sessions and their streams."""

import pytest

from jobworker_dashboard import sessions
from jobworker_dashboard.connect_error import ConnectError
from jobworker_dashboard.sessions import Session, Sessions


class NamedLogin:
    """The token is the subject. Sessions end at 100."""

    mode = "delegated"

    async def session(self, token: str) -> Session:
        return Session(token, "Viewer", expires=100.0)


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def table(clock: list[float]) -> Sessions:
    return Sessions(NamedLogin(), lambda: clock[0])


async def test_a_session_ends_at_its_time(table: Sessions, clock: list[float]) -> None:
    cookie, session = await table.begin("CN=alice")
    clock[0] = 99.0
    assert table.find(cookie) is session
    clock[0] = 100.0
    with pytest.raises(ConnectError, match="expired"):
        table.find(cookie)
    clock[0] = 0.0
    with pytest.raises(ConnectError, match="no session"):
        table.find(cookie)


async def test_the_oldest_session_of_a_subject_gives_way(
    table: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS_PER_SUBJECT", 2)
    other, _ = await table.begin("CN=bob")
    cookies = [(await table.begin("CN=alice"))[0] for _ in range(3)]
    with pytest.raises(ConnectError):
        table.find(cookies[0])
    assert [table.find(cookie).subject for cookie in (other, *cookies[1:])] == ["CN=bob", *["CN=alice"] * 2]


async def test_the_oldest_session_gives_way_if_there_are_too_many(
    table: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    cookies = [(await table.begin(f"CN={number}"))[0] for number in range(3)]
    with pytest.raises(ConnectError):
        table.find(cookies[0])
    assert [table.find(cookie).subject for cookie in cookies[1:]] == ["CN=1", "CN=2"]


async def test_streams_of_a_user_are_bounded(table: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_STREAMS_PER_SUBJECT", 1)
    alice, _ = await table.begin("CN=alice")
    elsewhere, _ = await table.begin("CN=alice")
    bob, _ = await table.begin("CN=bob")
    with table.stream(alice):
        for cookie in (alice, elsewhere):
            with pytest.raises(ConnectError, match="1 streams of CN=alice"), table.stream(cookie):
                pass
        with table.stream(bob):
            pass
    with table.stream(alice):
        pass


async def test_the_streams_of_a_session_end_with_it(table: Sessions, clock: list[float]) -> None:
    cookies = [(await table.begin(name))[0] for name in ("CN=alice", "CN=bob")]
    with table.stream(cookies[0]) as alice, table.stream(cookies[1]) as bob:
        table.end(cookies[0])
        assert (alice.is_set(), bob.is_set()) == (True, False)
        clock[0] = 100.0
        await table.begin("CN=carol")
        assert bob.is_set()


async def test_all_streams_are_bounded(table: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_STREAMS", 1)
    alice, _ = await table.begin("CN=alice")
    bob, _ = await table.begin("CN=bob")
    with table.stream(alice), pytest.raises(ConnectError), table.stream(bob):
        pass
