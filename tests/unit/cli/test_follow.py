"""How long a follower has patience, and with what; its patience is made short for these tests."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator

import pytest

from jobworker.v1 import job_pb2
from jobworker_cli import follow
from jobworker_cli.client import Client
from jobworker_cli.errors import CliError
from jobworker_cli.follow import Follower
from tests.unit.cli.conftest import JOB_ID, StreamMessage, StreamRequest, stdout

LOST = CliError("lost the connection", code="UNAVAILABLE", reason="CONNECTION_LOST", retryable=True)


class FlakyClient(Client):
    """Streams that break: each is as many seconds long, and has as many messages, as its entry says."""

    def __init__(self, *streams: tuple[float, int], back: bool = True, error: CliError = LOST) -> None:
        self._streams = list(streams)
        self._error = error
        self._back = back
        self.asked: list[int] = []

    async def stream(self, request: StreamRequest) -> AsyncGenerator[StreamMessage, None]:
        """Breaks as scripted, and ends well once the script is at its end."""
        self.asked.append(request.offset)
        if not self._streams:
            yield StreamMessage(result=job_pb2.Job(id=JOB_ID))
            return
        seconds, messages = self._streams.pop(0)
        for number in range(messages):
            yield stdout(b"x", request.offset + number)
        await asyncio.sleep(seconds)
        raise dataclasses.replace(self._error)

    async def reconnected(self, within: float) -> bool:
        """As scripted, and at once if there is a connection."""
        if not self._back:
            await asyncio.sleep(within)
        return self._back


async def drop(_message: StreamMessage) -> None:
    """Takes output."""


def follower(client: Client, *, result_only: bool = False) -> Follower:
    """A reader of the whole output."""
    request = StreamRequest(id=JOB_ID, follow=True, result_only=result_only)
    return Follower(client=client, request=request, write=drop)


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second at the start, a second later on, and streams of 0.2 s count as good."""
    monkeypatch.setattr(follow, "CONNECT_WITHIN", 0.1)
    monkeypatch.setattr(follow, "RESUME_WITHIN", 1.0)
    monkeypatch.setattr(follow, "GOOD_AFTER", 0.2)
    monkeypatch.setattr(follow, "PAUSES", (0.01, 0.02))


async def test_a_server_that_does_not_come_back_is_given_up_with_a_way_to_resume() -> None:
    client = FlakyClient((0, 3), back=False)
    began = asyncio.get_running_loop().time()
    with pytest.raises(CliError, match="lost the connection") as raised:
        await follower(client).run()
    assert asyncio.get_running_loop().time() - began >= 0.9
    assert raised.value.hint == f"`jobworker stream --offset 3 {JOB_ID}` goes on from there"
    assert client.asked == [0]


async def test_a_server_that_fails_every_stream_at_once_is_given_up() -> None:
    client = FlakyClient((0, 1), *[(0, 0)] * 1_000)
    with pytest.raises(CliError, match="lost the connection"):
        await follower(client).run()
    assert 10 < len(client.asked) < 1_000
    assert set(client.asked[1:]) == {1}


async def test_each_message_renews_the_patience() -> None:
    client = FlakyClient(*[(0, 1)] * 200)
    await follower(client).run()
    assert client.asked == list(range(201))


async def test_a_job_that_was_silent_for_long_has_the_full_patience() -> None:
    client = FlakyClient((0.3, 0), (0, 0), (0, 0), (0.3, 0), (0, 0))
    await follower(client, result_only=True).run()
    assert len(client.asked) == 6


async def test_what_cannot_be_retried_is_raised_at_once() -> None:
    client = FlakyClient((0, 0), error=CliError("no", reason="JOB_NOT_FOUND"))
    with pytest.raises(CliError, match="no"):
        await follower(client).run()
    assert client.asked == [0]
