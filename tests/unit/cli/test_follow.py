"""Tests of the retries of a followed stream, with a policy of short times."""

import asyncio
import dataclasses

import grpc
import pytest

from jobworker.v1 import job_pb2
from jobworker_cli.errors import CliError
from jobworker_cli.stream.follow import StderrNotifier, copy_stream, open_stream
from jobworker_client import (
    Client,
    ConnectionLost,
    JobNotFound,
    JobStream,
    JobWorkerError,
    NodeUnreachable,
    Reconnecting,
    SupervisorUnavailable,
)
from jobworker_client.aio.connection import Connection, StreamCall
from jobworker_client.retry_policy import RetryPolicy
from tests.unit.cli.conftest import JOB_ID, StreamMessage, StreamRequest, stdout

LOST = ConnectionLost("lost the connection", code="UNAVAILABLE", reason="CONNECTION_LOST", retryable=True)


class FlakyCall:
    """A stream that breaks after some seconds and messages, or ends with a result for a script of None."""

    def __init__(self, offset: int, script: tuple[float, int] | None) -> None:
        self._messages = [stdout(b"x", offset + number) for number in range(script[1] if script else 0)]
        self._script = script

    async def read(self) -> StreamMessage:
        """Return the next message."""
        if self._messages:
            return self._messages.pop(0)
        if self._script is None:
            return StreamMessage(result=job_pb2.Job(id=JOB_ID))
        await asyncio.sleep(self._script[0])
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())

    def cancel(self) -> bool:
        """Do nothing."""
        return True


class FlakyConnection(Connection):
    """A connection whose streams break after the given seconds and messages."""

    def __init__(
        self, *streams: tuple[float, int], reconnects: bool = True, error: JobWorkerError = LOST
    ) -> None:
        self._streams = list(streams)
        self._error = error
        self._reconnects = reconnects
        self.offsets: list[int] = []

    def open(self, request: StreamRequest, timeout: float | None) -> StreamCall:  # noqa: ARG002 - signature of the parent
        """Return the next scripted stream, or a complete one after the last."""
        self.offsets.append(request.offset)
        script = self._streams.pop(0) if self._streams else None
        return FlakyCall(request.offset, script)  # type: ignore[return-value]  # only the methods in use

    async def wait_ready(self, seconds: float) -> bool:
        """Return at once with a connection, or after the time without one."""
        if not self._reconnects:
            await asyncio.sleep(seconds)
        return self._reconnects

    def to_error(self, error: grpc.RpcError) -> JobWorkerError:  # noqa: ARG002
        """Return the scripted error."""
        return dataclasses.replace(self._error)


class FlakyClient(Client):
    """A client of such a connection. A stream of 0.2 s counts as healthy."""

    _retry_policy = RetryPolicy(
        connect_timeout=0.1, resume_timeout=1.0, healthy_after=0.2, stream_backoff=(0.01, 0.02)
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


async def drop(_message: StreamMessage) -> None:
    """Discard output."""


def stream(connection: Connection) -> JobStream:
    """Return a stream of the whole output."""
    request = StreamRequest(id=JOB_ID, follow=True)
    return open_stream(FlakyClient(connection), request)


@pytest.mark.parametrize(
    ("resume", "hint"),
    [
        ("", f"`jobworker stream --offset 3 {JOB_ID}` resumes the output"),
        ("jobworker attach", "`jobworker attach` returns to the job"),
    ],
)
async def test_error_without_reconnect_has_the_command_to_resume(resume: str, hint: str) -> None:
    connection = FlakyConnection((0, 3), reconnects=False)
    began = asyncio.get_running_loop().time()
    with pytest.raises(CliError, match="lost the connection") as raised:
        await copy_stream(stream(connection), drop, resume)
    assert asyncio.get_running_loop().time() - began >= 0.9
    assert raised.value.hint == hint
    assert connection.offsets == [0]


async def test_stream_fails_if_every_retry_breaks_at_once() -> None:
    connection = FlakyConnection((0, 1), *[(0, 0)] * 1_000)
    with pytest.raises(CliError, match="lost the connection"):
        await copy_stream(stream(connection), drop)
    assert 10 < len(connection.offsets) < 1_000
    assert set(connection.offsets[1:]) == {1}


async def test_each_message_restarts_the_resume_timeout() -> None:
    connection = FlakyConnection(*[(0, 1)] * 200)
    await copy_stream(stream(connection), drop)
    assert connection.offsets == list(range(201))


async def test_silent_healthy_stream_restarts_the_resume_timeout() -> None:
    connection = FlakyConnection((0.3, 0), (0, 0), (0, 0), (0.3, 0), (0, 0))
    await copy_stream(stream(connection), drop)
    assert len(connection.offsets) == 6


async def test_permanent_error_is_raised_at_once() -> None:
    connection = FlakyConnection((0, 0), error=JobNotFound("no", reason="JOB_NOT_FOUND"))
    with pytest.raises(CliError, match="no"):
        await copy_stream(stream(connection), drop)
    assert connection.offsets == [0]


@pytest.mark.parametrize(("offset", "next_step"), [(7, "resuming at byte 7"), (None, "retrying")])
def test_reconnect_is_reported_without_the_remedy_of_the_error(
    capsys: pytest.CaptureFixture[str], offset: int | None, next_step: str
) -> None:
    error = SupervisorUnavailable("the server is restarting; retry")
    StderrNotifier()(Reconnecting(error, offset))
    assert capsys.readouterr().err == f"jobworker: the server is restarting; {next_step}\n"


def test_only_the_last_part_of_an_error_is_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    fault = "node node-1 cannot be reached (failed to connect to all addresses; last error: refused)"
    StderrNotifier()(Reconnecting(NodeUnreachable(f"{fault}; retry"), None))
    assert capsys.readouterr().err == f"jobworker: {fault}; retrying\n"
