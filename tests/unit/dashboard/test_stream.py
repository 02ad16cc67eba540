"""A stream between a page and the server: order, backpressure, and every way to end."""

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosed

from jobworker_dashboard import request_memory
from jobworker_dashboard.connect_error import ConnectError, ErrorDetail
from jobworker_dashboard.flow import MAX_QUEUED_BYTES, WINDOW_BYTES, RequestQueue
from served_dashboard import Served

PIECE = 64 * 1024


async def test_messages_pass_in_both_directions(served: Served) -> None:
    async with served.websocket() as page:
        await page.send(b"one")
        await page.send(b"")
        await page.send("end")
        stream = await served.backend.streams.get()
        assert [await stream.requests.get() for _ in range(3)] == [b"one", b"", None]
        for response in (b"first", b"", None):
            stream.responses.put_nowait(response)
        assert [await page.recv() for _ in range(3)] == [b"first", b"", "{}"]
        await page.wait_closed()
        assert page.close_code == 1000


async def test_the_error_of_the_call_is_the_end(served: Served) -> None:
    async with served.websocket() as page:
        stream = await served.backend.streams.get()
        detail = ErrorDetail("google.rpc.ErrorInfo", b"\x0a\x01x")
        stream.responses.put_nowait(ConnectError("unavailable", "lost", (detail,)))
        end = json.loads(await page.recv())
    details = [{"type": "google.rpc.ErrorInfo", "value": "CgF4"}]
    assert end == {"error": {"code": "unavailable", "message": "lost", "details": details}}


async def test_a_client_that_is_gone_ends_the_call(served: Served) -> None:
    async with served.websocket() as page:
        stream = await served.backend.streams.get()
        page.transport.abort()
        await asyncio.wait_for(stream.cancelled.wait(), 30)


async def test_a_client_that_is_gone_ends_a_call_that_accepts_no_request(served: Served) -> None:
    async with served.websocket() as page:
        stream = await served.backend.streams.get()
        stream.accepts_requests.clear()
        for _ in range(3):
            await page.send(bytes(PIECE))
        page.transport.abort()
        await asyncio.wait_for(stream.cancelled.wait(), 30)


async def test_the_requests_of_all_streams_of_a_user_have_a_bound_together(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_memory, "MAX_BYTES_PER_SUBJECT", PIECE)
    async with served.websocket() as one, served.websocket() as two:
        for page in (one, two):
            await page.send(bytes(PIECE))
            stream = await served.backend.streams.get()
            # The server accepts this piece, so it does not count any more.
            assert await stream.requests.get() == bytes(PIECE)
            stream.accepts_requests.clear()
        for page in (one, two):
            await page.send(bytes(PIECE))
        ends = {asyncio.create_task(page.recv()) for page in (one, two)}
        done, others = await asyncio.wait(ends, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        (end,) = (json.loads(task.result()) for task in done)
        assert end["error"]["code"] == "resource_exhausted"
        assert len(others) == 1
        for task in others:
            task.cancel()


async def test_responses_wait_until_the_page_has_consumed_earlier_ones(served: Served) -> None:
    count = WINDOW_BYTES // PIECE
    async with served.websocket() as page:
        stream = await served.backend.streams.get()
        for _ in range(count + 2):
            stream.responses.put_nowait(bytes(PIECE))
        for _ in range(count):
            await page.recv()
        # The next message is not read from the server, even after a turn of both sides.
        await page.ping()
        assert (stream.reads, stream.responses.qsize()) == (count, 2)
        await page.send(str(PIECE))
        assert await page.recv() == bytes(PIECE)
        await page.send(str(2 * PIECE))
        assert await page.recv() == bytes(PIECE)


async def test_a_page_that_reads_nothing_stops_the_server(served: Served) -> None:
    """The socket of the page is full long before the window is used up."""
    async with served.websocket() as page:
        page.transport.pause_reading()
        await page.send("9999999999")
        stream = await served.backend.streams.get()
        for _ in range(1_000):
            stream.responses.put_nowait(bytes(PIECE))
        reads = -1
        while reads != stream.reads:
            reads = stream.reads
            await asyncio.sleep(0.2)
        assert 0 < reads < 500
        page.transport.abort()
        await asyncio.wait_for(stream.cancelled.wait(), 30)


async def test_requests_beyond_the_bound_end_the_stream(served: Served) -> None:
    async with served.websocket() as page:
        stream = await served.backend.streams.get()
        stream.accepts_requests.clear()
        for _ in range(MAX_QUEUED_BYTES // PIECE + 2):
            await page.send(bytes(PIECE))
        assert json.loads(await page.recv())["error"]["code"] == "resource_exhausted"
        assert stream.cancelled.is_set()


async def test_a_logout_ends_the_streams_of_the_session(served: Served) -> None:
    async with served.websocket() as page:
        stream = await served.backend.streams.get()
        await served.http("DELETE", "/session")
        assert json.loads(await page.recv())["error"]["code"] == "unauthenticated"
        await asyncio.wait_for(stream.cancelled.wait(), 30)


async def test_empty_requests_are_bounded_too() -> None:
    queue = RequestQueue()
    accepted = [queue.put(b"") for _ in range(100_000)]
    assert accepted[0]
    assert not accepted[-1]


@pytest.mark.parametrize("text", ["END", "-1", "1e3", "", "٣"])
async def test_an_unknown_text_closes_the_stream(served: Served, text: str) -> None:
    async with served.websocket() as page:
        await page.send(text)
        with pytest.raises(ConnectionClosed):
            await page.recv()
        assert page.close_code == 1003


async def test_a_stream_carries_the_session_and_the_trace(served: Served) -> None:
    async with served.websocket(traceparent="00-abc-def-01"):
        await served.backend.streams.get()
    ((_, metadata, _),) = served.backend.calls
    assert list(metadata) == [("session", b"secret"), ("traceparent", "00-abc-def-01")]
