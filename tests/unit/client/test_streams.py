"""Tests of streams with both clients: each byte arrives once, over any number of connections."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from jobworker.v1 import job_output_pb2
from jobworker_client import (
    Client,
    ClientConfig,
    ConnectionLost,
    DeadlineExceeded,
    OffsetOutOfRange,
    OutputSource,
    Reconnecting,
    StreamEvent,
    SyncClient,
    TruncatedRange,
    UnexpectedOffset,
)
from jobworker_client.retry_policy import RetryPolicy
from scripted import JOB_ID, FakeServer, StreamRequest, play, until
from scripted_endpoint import Endpoint
from scripted_messages import RESTARTING, Refusal, StreamMessage, mixed, stderr, stdout
from tests.unit.client.conftest import AnyClient

BYTES = bytes(range(256)) * 4_096


@pytest.mark.parametrize("cut", [0, 1, 100_000, len(BYTES)])
async def test_broken_stream_resumes_at_the_same_byte(
    any_client: AnyClient, server: FakeServer, cut: int
) -> None:
    job = server.add(exit_code=7)

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        end = cut if len(server.streamed) == 1 else len(BYTES)
        for start in range(request.offset, end, 65_536):
            yield stdout(BYTES[start : min(start + 65_536, end)], start)
        if len(server.streamed) < 3:
            raise RESTARTING
        yield StreamMessage(result=job, offset=len(BYTES))

    server.streaming = streaming
    stream = any_client.client.stream(JOB_ID)
    chunks = await any_client.rest(stream)
    assert b"".join(chunk.payload for chunk in chunks) == BYTES
    assert stream.result == job
    assert [request.offset for request in server.streamed] == [0, cut, len(BYTES)]


async def test_stream_reconnects_to_a_restarted_server(
    any_client: AnyClient, server: FakeServer, endpoint: Endpoint
) -> None:
    job = server.add()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if len(server.streamed) == 1:
            yield stdout(b"before ", 0)
            await asyncio.Event().wait()
        yield stdout(b"after", request.offset)
        yield StreamMessage(result=job)

    server.streaming = streaming
    events: list[StreamEvent] = []
    stream = any_client.client.stream(JOB_ID, on_event=events.append)
    first = await any_client.next(stream)
    reading = asyncio.create_task(any_client.rest(stream))
    await endpoint.stop()
    await until(lambda: bool(events))
    await endpoint.start()
    rest = await reading
    assert b"".join(chunk.payload for chunk in [first, *rest]) == b"before after"
    [event] = events
    assert isinstance(event, Reconnecting)
    assert event.offset == 7


async def test_stalled_stream_resumes(any_client: AnyClient, server: FakeServer) -> None:
    stalled = Refusal(grpc.StatusCode.UNAVAILABLE, "took nothing", "READER_STALLED")
    play(server, [stdout(b"ab", 0), stalled], [stderr(b"cd", 2), stalled], [])
    events: list[StreamEvent] = []
    chunks = await any_client.rest(any_client.client.stream(JOB_ID, on_event=events.append))
    assert [(chunk.source, chunk.payload) for chunk in chunks] == [
        (job_output_pb2.OUTPUT_SOURCE_STDOUT, b"ab"),
        (job_output_pb2.OUTPUT_SOURCE_STDERR, b"cd"),
    ]
    assert [event.error.reason for event in events if isinstance(event, Reconnecting)] == [
        "READER_STALLED"
    ] * 2


async def test_mixed_message_is_split_by_source_and_time(any_client: AnyClient, server: FakeServer) -> None:
    play(server, [stdout(b"ab", 0), mixed(2), RESTARTING], [stderr(b"!", 13)])
    chunks = await any_client.rest(any_client.client.stream(JOB_ID))
    found = [
        (each.offset, each.payload, each.source == OutputSource.OUTPUT_SOURCE_STDERR, each.time.seconds)
        for each in chunks
    ]
    assert found == [
        (0, b"ab", False, 0),
        (2, b"out", False, 5),
        (5, b"err", True, 5),
        (8, b" m", False, 5),
        (10, b"ore", False, 6),
        (13, b"!", True, 0),
    ]
    assert [request.offset for request in server.streamed] == [0, 13]


async def test_request_with_mixed_sources_gets_whole_messages(
    any_client: AnyClient, server: FakeServer
) -> None:
    play(server, [mixed(0)])
    stream = any_client.client.stream_from(StreamRequest(id=JOB_ID, mixed_sources=True))
    assert await any_client.rest(stream) == [mixed(0)]
    assert stream.request.offset == 11


async def test_message_of_one_source_skips_the_other(any_client: AnyClient, server: FakeServer) -> None:
    skipping = mixed(2)
    skipping.payload = b"out more"
    play(server, [skipping, stdout(b"!", 15), RESTARTING], [])
    chunks = await any_client.rest(any_client.client.stream(JOB_ID, source=OutputSource.OUTPUT_SOURCE_STDOUT))
    assert [(chunk.offset, chunk.payload, chunk.time.seconds) for chunk in chunks] == [
        (2, b"out", 5),
        (8, b" m", 5),
        (10, b"ore", 6),
        (15, b"!", 0),
    ]
    assert [request.offset for request in server.streamed] == [0, 16]


async def test_whole_message_of_one_source_resumes_after_the_skipped_bytes(
    any_client: AnyClient, server: FakeServer
) -> None:
    skipping = mixed(0)
    skipping.payload, skipping.source_run_bytes[:] = b"outerr", [3, 5, 3]
    play(server, [skipping, RESTARTING], [])
    stream = any_client.client.stream_from(
        StreamRequest(id=JOB_ID, source=OutputSource.OUTPUT_SOURCE_STDOUT, mixed_sources=True)
    )
    assert await any_client.rest(stream) == [skipping]
    assert [request.offset for request in server.streamed] == [0, 11]


async def test_request_starts_after_the_consumed_chunk(any_client: AnyClient, server: FakeServer) -> None:
    play(server, [mixed(0)], [])
    stream = any_client.client.stream(JOB_ID)
    first, second = await any_client.next(stream), await any_client.next(stream)
    assert (first.payload, second.payload, stream.request.offset) == (b"out", b"err", 3)
    stream.close()


async def test_stream_without_result_resumes(any_client: AnyClient, server: FakeServer) -> None:
    job = server.add()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if request.offset == 0:
            yield stdout(b"abc", 0)
        else:
            yield StreamMessage(result=job, offset=3)

    server.streaming = streaming
    assert [chunk.payload for chunk in await any_client.rest(any_client.client.stream(JOB_ID))] == [b"abc"]
    assert len(server.streamed) == 2


async def test_truncated_range_is_reported(any_client: AnyClient, server: FakeServer) -> None:
    missing = job_output_pb2.TruncatedRange(from_offset=0, to_offset=9, reason="bounded")
    play(server, [StreamMessage(truncated=missing), stdout(b"rest", 9)])
    events: list[StreamEvent] = []
    stream = any_client.client.stream(JOB_ID, on_event=events.append)
    assert [chunk.offset for chunk in await any_client.rest(stream)] == [9]
    assert stream.truncated == tuple(events) == (TruncatedRange(0, 9, "bounded"),)


async def test_options_are_sent_to_the_server(any_client: AnyClient, server: FakeServer) -> None:
    play(server, [])
    await any_client.rest(any_client.client.stream(JOB_ID, offset=2, tail_bytes=5, follow=False))
    assert server.streamed == [StreamRequest(id=JOB_ID, offset=2, tail_bytes=5, follow=False)]


async def test_refused_stream_has_ended(any_client: AnyClient, server: FakeServer) -> None:
    server.refusals["GetJobsStream"] = [Refusal(grpc.StatusCode.OUT_OF_RANGE, "no", "OFFSET_OUT_OF_RANGE")]
    stream = any_client.client.stream(JOB_ID, offset=9)
    with pytest.raises(OffsetOutOfRange):
        await any_client.rest(stream)
    assert await any_client.rest(stream) == []
    with pytest.raises(RuntimeError, match="no result before its end"):
        _ = stream.result
    assert len(server.streamed) == 1


async def test_unexpected_offset_ends_the_stream(any_client: AnyClient, server: FakeServer) -> None:
    play(server, [stdout(b"12345", 0), stdout(b"678", 3)])
    with pytest.raises(UnexpectedOffset):
        await any_client.rest(any_client.client.stream(JOB_ID))


async def test_stream_fails_after_the_resume_timeout(
    any_client: AnyClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobworker_client.base.BaseClient._retry_policy", RetryPolicy(resume_timeout=0.3))
    play(server, [stdout(b"x", 0), RESTARTING], *([RESTARTING] for _ in range(50)))
    stream = any_client.client.stream(JOB_ID)
    with pytest.raises(ConnectionLost):
        await any_client.rest(stream)
    assert stream.request.offset == 1
    assert 1 < len(server.streamed) < 50


def hold(server: FakeServer) -> asyncio.Event:
    """Keep streams open after their first byte; the event is set when a stream is cancelled."""
    ended = asyncio.Event()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        try:
            yield stdout(b"x", request.offset)
            await asyncio.Event().wait()
        finally:
            ended.set()

    server.streaming = streaming
    return ended


async def test_close_cancels_the_call(any_client: AnyClient, server: FakeServer) -> None:
    ended = hold(server)
    stream = any_client.client.stream(JOB_ID)
    await any_client.next(stream)
    stream.close()
    async with asyncio.timeout(30):
        await ended.wait()
    assert await any_client.rest(stream) == []


async def test_context_manager_closes_the_stream(any_client: AnyClient, server: FakeServer) -> None:
    ended = hold(server)
    if isinstance(any_client.client, Client):
        async with any_client.client.stream(JOB_ID) as stream:
            await anext(stream)
    else:
        with any_client.client.stream(JOB_ID) as threaded:
            await asyncio.to_thread(next, threaded)
    async with asyncio.timeout(30):
        await ended.wait()


async def test_deadline_bounds_a_stream(any_client: AnyClient, server: FakeServer) -> None:
    hold(server)
    stream = any_client.client.stream(JOB_ID, deadline=0.5)
    await any_client.next(stream)
    with pytest.raises(DeadlineExceeded):
        await any_client.next(stream)


async def test_another_thread_can_close_the_stream(config: ClientConfig, server: FakeServer) -> None:
    hold(server)
    with SyncClient(config) as client:
        stream = client.stream(JOB_ID)
        await asyncio.to_thread(next, stream)
        reading = asyncio.create_task(asyncio.to_thread(list, stream))
        await until(lambda: stream.request.offset == 1)  # the thread has requested the next chunk
        stream.close()
        async with asyncio.timeout(30):
            assert await reading == []


async def test_stream_resumes_after_a_cancelled_read(config: ClientConfig, server: FakeServer) -> None:
    hold(server)
    async with Client(config) as client:
        stream = client.stream(JOB_ID)
        await anext(stream)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(stream)
        chunk = await anext(stream)
        assert (chunk.offset, chunk.payload) == (1, b"x")
