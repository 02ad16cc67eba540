"""How long a follower has patience, and with what; its patience is made short for these tests."""

import asyncio
import dataclasses

import grpc
import pytest

from jobworker.v1 import job_pb2
from jobworker_cli.errors import CliError
from jobworker_cli.stream.follow import follow, open_stream
from jobworker_client import Client, ConnectionLost, JobNotFound, JobWorkerError, Stream, resumable_stream
from jobworker_client.aio.connection import Connection, StreamCall
from tests.unit.cli.conftest import JOB_ID, StreamMessage, StreamRequest, stdout

LOST = ConnectionLost("lost the connection", code="UNAVAILABLE", reason="CONNECTION_LOST", retryable=True)


class FlakyCall:
    """A stream that has so many messages and then breaks, after so many seconds; None = it ends well."""

    def __init__(self, offset: int, script: tuple[float, int] | None) -> None:
        self._messages = [stdout(b"x", offset + number) for number in range(script[1] if script else 0)]
        self._script = script

    async def read(self) -> StreamMessage:
        """The next message."""
        if self._messages:
            return self._messages.pop(0)
        if self._script is None:
            return StreamMessage(result=job_pb2.Job(id=JOB_ID))
        await asyncio.sleep(self._script[0])
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())

    def cancel(self) -> bool:
        """Ends nothing."""
        return True


class FlakyConnection(Connection):
    """Streams that break: each is as many seconds long, and has as many messages, as its entry says."""

    def __init__(self, *streams: tuple[float, int], back: bool = True, error: JobWorkerError = LOST) -> None:
        self._streams = list(streams)
        self._error = error
        self._back = back
        self.asked: list[int] = []

    def open(self, request: StreamRequest, timeout: float | None) -> StreamCall:  # noqa: ARG002 - as of its parent
        """Breaks as scripted, and ends well once the script is at its end."""
        self.asked.append(request.offset)
        script = self._streams.pop(0) if self._streams else None
        return FlakyCall(request.offset, script)  # type: ignore[return-value]  # as much of it as is used

    async def ready(self, within: float) -> bool:
        """As scripted, and at once if there is a connection."""
        if not self._back:
            await asyncio.sleep(within)
        return self._back

    def failure(self, error: grpc.RpcError) -> JobWorkerError:  # noqa: ARG002
        """As scripted."""
        return dataclasses.replace(self._error)


class FlakyClient(Client):
    """A client of such a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


async def drop(_message: StreamMessage) -> None:
    """Takes output."""


def stream(connection: Connection, *, result_only: bool = False) -> Stream:
    """A reader of the whole output."""
    request = StreamRequest(id=JOB_ID, follow=True, result_only=result_only)
    return open_stream(FlakyClient(connection), request)


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second at the start, a second later on, and streams of 0.2 s count as good."""
    monkeypatch.setattr(resumable_stream, "CONNECT_WITHIN", 0.1)
    monkeypatch.setattr(resumable_stream, "RESUME_WITHIN", 1.0)
    monkeypatch.setattr(resumable_stream, "GOOD_AFTER", 0.2)
    monkeypatch.setattr(resumable_stream, "PAUSES", (0.01, 0.02))


async def test_a_server_that_does_not_come_back_is_given_up_with_a_way_to_resume() -> None:
    connection = FlakyConnection((0, 3), back=False)
    began = asyncio.get_running_loop().time()
    with pytest.raises(CliError, match="lost the connection") as raised:
        await follow(stream(connection), drop)
    assert asyncio.get_running_loop().time() - began >= 0.9
    assert raised.value.hint == f"`jobworker stream --offset 3 {JOB_ID}` goes on from there"
    assert connection.asked == [0]


async def test_a_server_that_fails_every_stream_at_once_is_given_up() -> None:
    connection = FlakyConnection((0, 1), *[(0, 0)] * 1_000)
    with pytest.raises(CliError, match="lost the connection"):
        await follow(stream(connection), drop)
    assert 10 < len(connection.asked) < 1_000
    assert set(connection.asked[1:]) == {1}


async def test_each_message_renews_the_patience() -> None:
    connection = FlakyConnection(*[(0, 1)] * 200)
    await follow(stream(connection), drop)
    assert connection.asked == list(range(201))


async def test_a_job_that_was_silent_for_long_has_the_full_patience() -> None:
    connection = FlakyConnection((0.3, 0), (0, 0), (0, 0), (0.3, 0), (0, 0))
    await follow(stream(connection, result_only=True), drop)
    assert len(connection.asked) == 6


async def test_what_cannot_be_retried_is_raised_at_once() -> None:
    connection = FlakyConnection((0, 0), error=JobNotFound("no", reason="JOB_NOT_FOUND"))
    with pytest.raises(CliError, match="no"):
        await follow(stream(connection), drop)
    assert connection.asked == [0]
