"""Tests of `attach`, against a scripted server."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from jobworker_client import Client, ClientConfig, StreamEvent, TerminalResized
from jobworker_client.retry_policy import RetryPolicy
from scripted import JOB_ID, FakeServer
from scripted_messages import Refusal


@pytest.fixture
async def client(config: ClientConfig) -> AsyncIterator[Client]:
    """Yield a client that is connected to the scripted server."""
    async with Client(config) as connected:
        yield connected


async def parts(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


async def attach(client: Client, *data: bytes) -> bytes:
    async with client.attach(JOB_ID, parts(*data)) as stream:
        return b"".join([chunk.payload async for chunk in stream])


async def test_input_is_sent_in_pieces_and_the_output_returned(client: Client, server: FakeServer) -> None:
    server.add()
    server.log = b"out"
    data = bytes(range(256)) * 1_000
    assert await attach(client, data, b"end") == b"out"
    assert server.input == data + b"end"


@pytest.mark.parametrize("breaks", [[0], [1], [2], [3], [0, 0], [1, 1, 0]])
async def test_input_continues_over_broken_calls(
    client: Client, server: FakeServer, breaks: list[int]
) -> None:
    server.add()
    server.breaks = breaks
    await attach(client, b"one", b"two", b"three")
    assert server.input == b"onetwothree"
    assert {start.input_id for start in server.attached} == {server.attached[0].input_id}


async def test_a_call_whose_status_is_lost_is_repeated(client: Client, server: FakeServer) -> None:
    server.add()
    server.refusals["AttachJob"] = [Refusal(grpc.StatusCode.INTERNAL, "Internal error from Core")]
    await attach(client, b"one")
    assert server.input == b"one"


async def test_accepted_input_restarts_the_time_for_retries(
    client: Client, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_retry_policy", RetryPolicy(connect_timeout=0.3, resume_timeout=20))
    server.add()
    server.breaks = [1]

    async def slow() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0.5)
        yield b"two"

    async for _ in client.attach(JOB_ID, slow()):
        pass
    assert server.input == b"onetwo"


async def test_an_error_of_the_source_is_raised(client: Client, server: FakeServer) -> None:
    server.add()

    async def failing() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("broken source")

    with pytest.raises(OSError, match="broken source"):
        async for _ in client.attach(JOB_ID, failing()):
            pass


async def test_output_without_input(client: Client, server: FakeServer) -> None:
    server.add()
    server.log = b"output"
    assert [chunk.payload async for chunk in client.attach(JOB_ID, offset=3)] == [b"put"]


async def test_sizes_of_the_terminal_are_events(client: Client, server: FakeServer) -> None:
    """After a break, the server repeats the size that holds at the offset."""
    server.add()
    server.breaks = [1]
    server.sizes = [(80, 24, 0), (90, 24, 5)]
    events: list[StreamEvent] = []
    async for _ in client.attach(JOB_ID, parts(b"one", b"two"), on_event=events.append):
        pass
    assert len(server.attached) == 2
    sizes = [event for event in events if isinstance(event, TerminalResized)]
    assert sizes == [TerminalResized(80, 24, 0), TerminalResized(90, 24, 5)]
