"""A job's output with either client: every byte once, over any number of connections."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from jobworker.v1 import job_service_pb2
from jobworker_client import (
    Client,
    ConnectionLost,
    DeadlineExceeded,
    OffsetOutOfRange,
    OutputSource,
    Resuming,
    SyncClient,
    Target,
    Truncated,
    WrongOffset,
)
from scripted import (
    JOB_ID,
    RESTARTING,
    FakeServer,
    Listening,
    Refusal,
    StreamMessage,
    StreamRequest,
    by_turns,
    play,
    stderr,
    stdout,
    until,
)
from tests.unit.client.conftest import Shell

BYTES = bytes(range(256)) * 4_096


@pytest.mark.parametrize("cut", [0, 1, 100_000, len(BYTES)])
async def test_a_stream_that_breaks_goes_on_without_a_byte_lost_or_doubled(
    shell: Shell, server: FakeServer, cut: int
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
    stream = shell.client.stream(JOB_ID)
    chunks = await shell.rest(stream)
    assert b"".join(chunk.payload for chunk in chunks) == BYTES
    assert stream.result == job
    assert [request.offset for request in server.streamed] == [0, cut, len(BYTES)]


async def test_a_server_that_is_started_anew_is_found_again(
    shell: Shell, server: FakeServer, listening: Listening
) -> None:
    job = server.add()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if len(server.streamed) == 1:
            yield stdout(b"before ", 0)
            await asyncio.Event().wait()
        yield stdout(b"after", request.offset)
        yield StreamMessage(result=job)

    server.streaming = streaming
    told: list[Truncated | Resuming] = []
    stream = shell.client.stream(JOB_ID, notify=told.append)
    first = await shell.next(stream)
    reading = asyncio.create_task(shell.rest(stream))
    await listening.stop()
    await until(lambda: bool(told))
    await listening.start()
    rest = await reading
    assert b"".join(chunk.payload for chunk in [first, *rest]) == b"before after"
    [notice] = told
    assert isinstance(notice, Resuming)
    assert notice.offset == 7


async def test_a_reader_that_is_cut_off_for_being_slow_goes_on(shell: Shell, server: FakeServer) -> None:
    stalled = Refusal(grpc.StatusCode.UNAVAILABLE, "took nothing", "READER_STALLED")
    play(server, [stdout(b"ab", 0), stalled], [stderr(b"cd", 2), stalled], [])
    told: list[Truncated | Resuming] = []
    chunks = await shell.rest(shell.client.stream(JOB_ID, notify=told.append))
    assert [(chunk.source, chunk.payload) for chunk in chunks] == [
        (job_service_pb2.OUTPUT_SOURCE_STDOUT, b"ab"),
        (job_service_pb2.OUTPUT_SOURCE_STDERR, b"cd"),
    ]
    assert [notice.error.reason for notice in told if isinstance(notice, Resuming)] == ["READER_STALLED"] * 2


async def test_a_message_of_both_sources_comes_in_pieces_of_one_source_and_one_time(
    shell: Shell, server: FakeServer
) -> None:
    play(server, [stdout(b"ab", 0), by_turns(2), RESTARTING], [stderr(b"!", 13)])
    chunks = await shell.rest(shell.client.stream(JOB_ID))
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


async def test_a_reader_that_asks_for_both_sources_gets_messages_as_they_are(
    shell: Shell, server: FakeServer
) -> None:
    play(server, [by_turns(0)])
    stream = shell.client.stream_from(StreamRequest(id=JOB_ID, mixed_sources=True))
    assert await shell.rest(stream) == [by_turns(0)]
    assert stream.request.offset == 11


async def test_a_message_of_one_source_may_skip_the_other(shell: Shell, server: FakeServer) -> None:
    skipping = by_turns(2)
    skipping.payload = b"out more"
    play(server, [skipping, stdout(b"!", 15), RESTARTING], [])
    chunks = await shell.rest(shell.client.stream(JOB_ID, source=OutputSource.OUTPUT_SOURCE_STDOUT))
    assert [(chunk.offset, chunk.payload, chunk.time.seconds) for chunk in chunks] == [
        (2, b"out", 5),
        (8, b" m", 5),
        (10, b"ore", 6),
        (15, b"!", 0),
    ]
    assert [request.offset for request in server.streamed] == [0, 16]


async def test_whole_messages_of_one_source_are_taken_up_behind_what_they_skip(
    shell: Shell, server: FakeServer
) -> None:
    skipping = by_turns(0)
    skipping.payload, skipping.source_run_bytes[:] = b"outerr", [3, 5, 3]
    play(server, [skipping, RESTARTING], [])
    stream = shell.client.stream_from(
        StreamRequest(id=JOB_ID, source=OutputSource.OUTPUT_SOURCE_STDOUT, mixed_sources=True)
    )
    assert await shell.rest(stream) == [skipping]
    assert [request.offset for request in server.streamed] == [0, 11]


async def test_a_stream_is_taken_up_behind_the_piece_that_was_dealt_with(
    shell: Shell, server: FakeServer
) -> None:
    play(server, [by_turns(0)], [])
    stream = shell.client.stream(JOB_ID)
    first, second = await shell.next(stream), await shell.next(stream)
    assert (first.payload, second.payload, stream.request.offset) == (b"out", b"err", 3)
    stream.close()


async def test_a_stream_without_its_result_is_taken_up_again(shell: Shell, server: FakeServer) -> None:
    job = server.add()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        if request.offset == 0:
            yield stdout(b"abc", 0)
        else:
            yield StreamMessage(result=job, offset=3)

    server.streaming = streaming
    assert [chunk.payload for chunk in await shell.rest(shell.client.stream(JOB_ID))] == [b"abc"]
    assert len(server.streamed) == 2


async def test_a_range_that_is_gone_is_told(shell: Shell, server: FakeServer) -> None:
    missing = job_service_pb2.TruncatedRange(from_offset=0, to_offset=9, reason="bounded")
    play(server, [StreamMessage(truncated=missing), stdout(b"rest", 9)])
    told: list[Truncated | Resuming] = []
    stream = shell.client.stream(JOB_ID, notify=told.append)
    assert [chunk.offset for chunk in await shell.rest(stream)] == [9]
    assert stream.truncated == tuple(told) == (Truncated(0, 9, "bounded"),)


async def test_the_part_is_what_the_server_is_asked_for(shell: Shell, server: FakeServer) -> None:
    play(server, [])
    await shell.rest(shell.client.stream(JOB_ID, offset=2, tail_bytes=5, follow=False))
    assert server.streamed == [StreamRequest(id=JOB_ID, offset=2, tail_bytes=5, follow=False)]


async def test_a_refusal_ends_the_stream_for_good(shell: Shell, server: FakeServer) -> None:
    server.refusals["GetJobsStream"] = [Refusal(grpc.StatusCode.OUT_OF_RANGE, "no", "OFFSET_OUT_OF_RANGE")]
    stream = shell.client.stream(JOB_ID, offset=9)
    with pytest.raises(OffsetOutOfRange):
        await shell.rest(stream)
    assert await shell.rest(stream) == []
    with pytest.raises(RuntimeError, match="no result before the stream's end"):
        _ = stream.result
    assert len(server.streamed) == 1


async def test_a_wrong_offset_ends_the_stream(shell: Shell, server: FakeServer) -> None:
    play(server, [stdout(b"12345", 0), stdout(b"678", 3)])
    with pytest.raises(WrongOffset):
        await shell.rest(shell.client.stream(JOB_ID))


async def test_a_server_that_does_not_come_back_is_given_up(
    shell: Shell, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobworker_client.resumable_stream.RESUME_WITHIN", 0.3)
    play(server, [stdout(b"x", 0), RESTARTING], *([RESTARTING] for _ in range(50)))
    stream = shell.client.stream(JOB_ID)
    with pytest.raises(ConnectionLost):
        await shell.rest(stream)
    assert stream.request.offset == 1
    assert 1 < len(server.streamed) < 50


def hold(server: FakeServer) -> asyncio.Event:
    """Makes streams that stay open behind their first byte; the event says that one was ended."""
    ended = asyncio.Event()

    async def streaming(request: StreamRequest) -> AsyncIterator[StreamMessage]:
        yield stdout(b"x", request.offset)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    server.streaming = streaming
    return ended


async def test_closing_ends_the_servers_reader(shell: Shell, server: FakeServer) -> None:
    ended = hold(server)
    stream = shell.client.stream(JOB_ID)
    await shell.next(stream)
    stream.close()
    async with asyncio.timeout(30):
        await ended.wait()
    assert await shell.rest(stream) == []


async def test_leaving_the_context_closes(shell: Shell, server: FakeServer) -> None:
    ended = hold(server)
    if isinstance(shell.client, Client):
        async with shell.client.stream(JOB_ID) as stream:
            await anext(stream)
    else:
        with shell.client.stream(JOB_ID) as threaded:
            await asyncio.to_thread(next, threaded)
    async with asyncio.timeout(30):
        await ended.wait()


async def test_a_deadline_bounds_a_stream(shell: Shell, server: FakeServer) -> None:
    hold(server)
    stream = shell.client.stream(JOB_ID, deadline=0.5)
    await shell.next(stream)
    with pytest.raises(DeadlineExceeded):
        await shell.next(stream)


async def test_another_thread_may_close_the_stream(target: Target, server: FakeServer) -> None:
    hold(server)
    with SyncClient(target) as client:
        stream = client.stream(JOB_ID)
        await asyncio.to_thread(next, stream)
        reading = asyncio.create_task(asyncio.to_thread(list, stream))
        await until(lambda: stream.request.offset == 1)  # the thread asks for the next one
        stream.close()
        async with asyncio.timeout(30):
            assert await reading == []


async def test_a_read_that_was_cancelled_is_taken_up(target: Target, server: FakeServer) -> None:
    hold(server)
    async with Client(target) as client:
        stream = client.stream(JOB_ID)
        await anext(stream)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(stream)
        chunk = await anext(stream)
        assert (chunk.offset, chunk.payload) == (1, b"x")
