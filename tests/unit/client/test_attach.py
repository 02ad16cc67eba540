"""Tests of `attach` with both clients, against a scripted server."""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworker_client import (
    AttachedStream,
    Client,
    ClientConfig,
    StreamEvent,
    SyncAttachedStream,
    SyncClient,
    TerminalResized,
)
from jobworker_client.resumable_attach import ResumableAttach
from jobworker_client.resumable_input import ResumableInput
from jobworker_client.retry_policy import RetryPolicy
from scripted import JOB_ID, FakeServer, StreamRequest, until
from scripted_messages import RESTARTING, STATUS_LOST, StreamMessage
from tests.unit.client.conftest import AnyClient

Item = bytes | float | Exception
"""A piece that a source yields, a time for which it waits, or an error that it raises."""


async def awaited(items: tuple[Item, ...]) -> AsyncIterator[bytes]:
    for item in items:
        if isinstance(item, bytes):
            yield item
        elif isinstance(item, float):
            await asyncio.sleep(item)
        else:
            raise item


def blocking(items: tuple[Item, ...]) -> Iterator[bytes]:
    for item in items:
        if isinstance(item, bytes):
            yield item
        elif isinstance(item, float):
            time.sleep(item)
        else:
            raise item


def attached(client: AnyClient, *items: Item, **options: Any) -> AttachedStream | SyncAttachedStream:
    """Attach to the job with the source of these items; without items, without input."""
    if isinstance(client.client, Client):
        return client.client.attach(JOB_ID, awaited(items) if items else None, **options)
    return client.client.attach(JOB_ID, blocking(items) if items else None, **options)


async def attach(client: AnyClient, *items: Item, **options: Any) -> bytes:
    """Attach to the job until its end, and return the output."""
    stream = attached(client, *items, **options)
    return b"".join(chunk.payload for chunk in await client.rest(stream))


async def test_input_is_sent_in_pieces_and_the_output_returned(
    any_client: AnyClient, server: FakeServer
) -> None:
    server.add()
    server.log = b"out"
    data = bytes(range(256)) * 1_000
    assert await attach(any_client, data, b"end") == b"out"
    assert server.input == data + b"end"


@pytest.mark.parametrize("breaks", [[0], [1], [2], [3], [0, 0], [1, 1, 0]])
async def test_input_continues_over_broken_calls(
    any_client: AnyClient, server: FakeServer, breaks: list[int]
) -> None:
    server.add()
    server.breaks = breaks
    await attach(any_client, b"one", b"two", b"three")
    assert server.input == b"onetwothree"
    assert {start.input_id for start in server.attached} == {server.attached[0].input_id}


async def test_a_call_whose_status_is_lost_is_repeated(any_client: AnyClient, server: FakeServer) -> None:
    server.add()
    server.refusals["AttachJob"] = [STATUS_LOST]
    await attach(any_client, b"one")
    assert server.input == b"one"


async def test_accepted_input_restarts_the_time_for_retries(
    any_client: AnyClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = RetryPolicy(connect_timeout=0.3, resume_timeout=20)
    monkeypatch.setattr(any_client.client, "_retry_policy", policy)
    server.add()
    server.breaks = [1]
    await attach(any_client, b"one", 0.5, b"two")
    assert server.input == b"onetwo"


@pytest.mark.parametrize("before", [(), (b"one",), (b"one", b"two"), (b"one", 0.2)])
async def test_an_error_of_the_source_is_raised(
    any_client: AnyClient, server: FakeServer, before: tuple[Item, ...]
) -> None:
    server.add()
    async with asyncio.timeout(20):
        with pytest.raises(OSError, match="broken source"):
            await attach(any_client, *before, OSError("broken source"))
    assert server.input == b"".join(each for each in before if isinstance(each, bytes))


async def test_an_error_of_the_source_between_two_calls_is_raised(
    config: ClientConfig, server: FakeServer
) -> None:
    server.add()
    with SyncClient(config) as client:
        stream = client.attach(JOB_ID, Keyboard())
        stream._outbox._fail(OSError("broken source"))
        with pytest.raises(OSError, match="broken source"):
            await asyncio.wait_for(asyncio.to_thread(list, stream), 10)


async def test_output_without_input(any_client: AnyClient, server: FakeServer) -> None:
    server.add()
    server.log = b"output"
    assert await attach(any_client, offset=3) == b"put"


async def test_sizes_of_the_terminal_are_events(any_client: AnyClient, server: FakeServer) -> None:
    """After a break, the server repeats the size that holds at the offset."""
    server.add()
    server.breaks = [1]
    server.sizes = [(80, 24, 0), (90, 24, 5)]
    events: list[StreamEvent] = []
    await attach(any_client, b"one", b"two", on_event=events.append)
    assert len(server.attached) == 2
    sizes = [event for event in events if isinstance(event, TerminalResized)]
    assert sizes == [TerminalResized(80, 24, 0), TerminalResized(90, 24, 5)]


async def test_signals_and_sizes_are_sent_once(any_client: AnyClient, server: FakeServer) -> None:
    """A later call starts with the size."""
    server.add()
    server.breaks = [1]
    stream = attached(any_client, b"one", 0.3, b"two")
    stream.signal("INT")
    stream.resize(90, 40, redraw=True)
    await any_client.rest(stream)
    assert [each.WhichOneof("kind") for each in server.controls] == ["signal", "resize"]
    assert server.controls[0].signal.name == "INT"
    size = job_attach_pb2.TerminalSize(columns=90, rows=40)
    assert server.attached[1].size == size
    size.redraw = True
    assert server.controls[1].resize == size
    assert server.input == b"onetwo"


async def test_a_client_waits_for_accepted_input(any_client: AnyClient, server: FakeServer) -> None:
    server.add()
    server.breaks = [1]
    data = b"x" * 100_000
    async with asyncio.timeout(20):
        stream = attached(any_client, data)
        reading = asyncio.create_task(any_client.rest(stream))
        assert await wait_accepted(stream, len(data))
        assert server.input == data
        assert not await wait_accepted(stream, len(data) + 1)
        await reading


async def test_a_client_without_input_waits_for_nothing(any_client: AnyClient) -> None:
    assert not await wait_accepted(attached(any_client), 1)


async def wait_accepted(stream: AttachedStream | SyncAttachedStream, size: int) -> bool:
    if isinstance(stream, AttachedStream):
        return await stream.wait_accepted(size)
    return await asyncio.to_thread(stream.wait_accepted, size)


class Keyboard:
    """A source that another thread types into."""

    def __init__(self) -> None:
        self.keys: queue.Queue[bytes | None] = queue.Queue()
        self.asked = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        self.asked.set()
        return iter(self.keys.get, None)


async def test_one_thread_types_while_another_one_reads(config: ClientConfig, server: FakeServer) -> None:
    server.add()
    server.log = b"output"
    keyboard = Keyboard()
    with SyncClient(config) as client:
        stream = client.attach(JOB_ID, keyboard)
        reading = asyncio.create_task(asyncio.to_thread(list, stream))
        for number in range(100):
            keyboard.keys.put(b"%d," % number)
            if number == 50:
                await until(lambda: b"50," in server.input)
                server.breaks = [0]
        keyboard.keys.put(None)
        assert b"".join(chunk.payload for chunk in await reading) == b"output"
    assert server.input == b"".join(b"%d," % number for number in range(100))


async def test_close_in_another_thread_ends_a_stream_whose_source_waits(
    config: ClientConfig, server: FakeServer
) -> None:
    server.add()
    keyboard = Keyboard()
    before = client_threads()
    with SyncClient(config) as client:
        stream = client.attach(JOB_ID, keyboard)
        reading = asyncio.create_task(asyncio.to_thread(list, stream))
        await asyncio.to_thread(keyboard.asked.wait)
        await until(lambda: bool(server.attached))
        stream.close()
        assert await asyncio.wait_for(reading, 10) == []
    keyboard.keys.put(b"late")
    await until(lambda: client_threads() <= before)
    assert not server.input


async def test_a_failed_source_leaves_no_thread(config: ClientConfig, server: FakeServer) -> None:
    server.add()

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        await asyncio.sleep(100)
        yield StreamMessage()

    server.streaming = streaming
    with SyncClient(config) as client:
        before = client_threads()
        stream = client.attach(JOB_ID, blocking((OSError("broken source"),)))
        with pytest.raises(OSError, match="broken source"):
            await asyncio.wait_for(asyncio.to_thread(list, stream), 10)
        await until(lambda: client_threads() <= before)
        stream.close()


async def test_broken_calls_leave_no_thread(config: ClientConfig, server: FakeServer) -> None:
    server.add()
    counts: list[int] = []

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        await asyncio.sleep(0.1)
        counts.append(len(client_threads()))
        if len(counts) < 4:
            raise RESTARTING
        yield StreamMessage(result=server.jobs[JOB_ID])

    server.streaming = streaming
    with SyncClient(config) as client:
        await asyncio.to_thread(list, client.attach(JOB_ID))
    assert counts[-1] == counts[0]


def client_threads() -> set[threading.Thread]:
    """Return the threads that are not those of `asyncio.to_thread`."""
    return {each for each in threading.enumerate() if not each.name.startswith("asyncio")}


async def test_close_while_a_call_is_opened_ends_the_stream(
    config: ClientConfig, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add()
    with SyncClient(config) as client:
        stream = client.attach(JOB_ID, Keyboard())
        start = stream._outbox.start_call

        def closing(*args: Any) -> job_attach_pb2.AttachStart:
            stream.close()
            return start(*args)

        monkeypatch.setattr(stream._outbox, "start_call", closing)
        assert await asyncio.wait_for(asyncio.to_thread(list, stream), 10) == []


async def test_the_stdin_is_taken_over_until_the_server_answers(
    any_client: AnyClient, server: FakeServer
) -> None:
    server.add()
    server.refusals["AttachJob"] = [RESTARTING]
    server.breaks = [1]
    await attach(any_client, b"one", b"two", take_over=True)
    assert [start.take_over for start in server.attached] == [True, False]
    assert server.input == b"onetwo"


def test_only_the_call_that_the_server_answers_redraws_the_terminal() -> None:
    source = ResumableInput()
    calls = ResumableAttach(job_attach_pb2.AttachStart(redraw=True), source, None)
    request = job_service_pb2.GetJobsStreamRequest()
    assert calls.next_start(request).redraw
    assert calls.next_start(request).redraw, "the server has not answered"
    source.accepted(0)
    assert not calls.next_start(request).redraw
