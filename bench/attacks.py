"""Attacks of clients, with a certificate or without. Each runs until it is cancelled."""

import asyncio
import contextlib
import gzip
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial

import grpc
import http2
from target import Extent, Target

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc

_GET = "/jobworker.v1.JobService/GetJob"
_HALF_OPEN, _CONNECTIONS = 2_000, 10_000
_RECONNECT_SECONDS = 1.0
_STREAMS_PER_CONNECTION = 250
_STALL_SECONDS = 6.0
"""The server cuts a stalled stream off after 5 s."""

_CREATES_PER_SECOND = 100
_BOMBS_AT_ONCE = 16
_METADATA = [(f"x-{number}", "x" * 8_000) for number in range(100)]
_MESSAGE = bytes(1_900 * 1024)
"""As large as gRPC accepts, and larger than the server does."""

_GZIPPED = gzip.compress(bytes(32 << 20))
_FRAMES = 256
_RESETS = 500
_HANDSHAKES_AT_ONCE = 8

Run = Callable[[], Coroutine[None, None, None]]


async def half_open(target: Target, extent: Extent) -> None:
    """Hold 2,000 connections without a TLS handshake."""
    await _many(_HALF_OPEN, partial(_silent_connection, target, extent))


async def connections(target: Target, extent: Extent) -> None:
    """Let 10,000 clients connect without a TLS handshake, and connect again."""
    await _many(_CONNECTIONS, partial(_silent_connection, target, extent))


async def _silent_connection(target: Target, extent: Extent) -> None:
    reader, writer = await asyncio.open_connection(*target.host_port)
    with extent.opened():
        await reader.read()  # until the server closes the connection
    writer.close()
    await asyncio.sleep(_RECONNECT_SECONDS)


async def streams_500(target: Target, extent: Extent) -> None:
    """Hold 500 streams of one viewer and do not read them."""
    await _streams(target, extent, 500)


async def streams_1000(target: Target, extent: Extent) -> None:
    """Hold 1,000 streams of one viewer and do not read them."""
    await _streams(target, extent, 1_000)


async def offsets(target: Target, extent: Extent) -> None:
    """Hold 500 streams from different offsets, which take two descriptors each."""
    await _streams(target, extent, 500, distance=1_000)


async def _streams(target: Target, extent: Extent, count: int, distance: int = 0) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stubs = [
            job_service_pb2_grpc.JobServiceStub(await stack.enter_async_context(target.channel("viewer")))
            for _ in range(max(count // _STREAMS_PER_CONNECTION, 1))
        ]
        numbers = itertools.count()

        async def stall() -> None:
            number = next(numbers)
            request = job_service_pb2.GetJobsStreamRequest(id=target.job_id, offset=number % count * distance)
            call = stubs[number % len(stubs)].GetJobsStream(request)
            try:
                await call.read()
                with extent.opened():
                    await asyncio.sleep(_STALL_SECONDS)
            finally:
                call.cancel()

        await _many(count, stall)


async def creates(target: Target, extent: Extent) -> None:
    """Create 100 jobs per second as one admin."""
    async with target.channel("admin") as channel, asyncio.TaskGroup() as group:
        stub = job_service_pb2_grpc.JobServiceStub(channel)

        async def create() -> None:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stub.CreateJob(job_service_pb2.CreateJobRequest(command="/bin/true", max_memory=64))
                extent.count()

        begin = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(begin + number / _CREATES_PER_SECOND - time.monotonic())
            group.create_task(create())


async def jobs(target: Target, extent: Extent) -> None:
    """Start jobs that sleep as one admin, also when the server refuses them."""
    request = job_service_pb2.CreateJobRequest(command="sleep", args=["20"], max_memory=64)
    async with target.channel("admin") as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stub.CreateJob(request)
                extent.count()


async def headers(target: Target, extent: Extent) -> None:
    """Send 800 KB of metadata, 16 KiB that decompress to 50 MB, and headers that do not end."""
    async with target.channel("viewer") as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_GET)
        bombs = [http2.header_bomb(_GET), http2.endless_headers(_GET, _FRAMES)]
        await _bombard(target, extent, partial(method, b"", metadata=_METADATA), bombs)


async def messages(target: Target, extent: Extent) -> None:
    """Send messages of 1.9 MiB, messages that decompress to 32 MiB, and messages that do not arrive."""
    async with target.channel("viewer") as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_GET)
        bombs = [http2.gzipped_call(_GET, _GZIPPED), http2.unfinished_call(_GET, len(_MESSAGE))]
        await _bombard(target, extent, partial(method, _MESSAGE), bombs)


async def _bombard(
    target: Target, extent: Extent, call: Callable[[], Awaitable[object]], bombs: Sequence[bytes]
) -> None:
    """Make calls, and send the bytes of other calls on separate connections."""

    async def counted() -> None:
        extent.count()
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call()

    runs: list[Run] = [counted, *(partial(_send, target, extent, each) for each in bombs)]
    await _together(*(_many(_BOMBS_AT_ONCE, run) for run in runs))


async def _send(target: Target, extent: Extent, data: bytes) -> None:
    async with target.http2() as connection:
        extent.count()
        connection.write(data)
        await connection.drain()
        await asyncio.sleep(_RECONNECT_SECONDS)


async def resets(target: Target, extent: Extent) -> None:
    """Reset calls immediately, as fast as the server reads them."""
    request = job_service_pb2.GetJobRequest(id=target.job_id).SerializeToString()

    async def reset() -> None:
        async with target.http2() as connection:
            for number in itertools.count():
                connection.write(http2.reset_calls(_GET, request, number * _RESETS, _RESETS))
                await connection.drain()
                # Neither of them waits or fails if the server has closed the connection.
                await asyncio.sleep(0)
                if connection.is_closing():
                    return
                extent.value += _RESETS

    await _many(1, reset)


async def handshakes(target: Target, extent: Extent) -> None:
    """Make TLS handshakes as fast as possible, on eight connections at a time."""

    async def shake() -> None:
        async with target.http2():
            extent.count()

    await _many(_HANDSHAKES_AT_ONCE, shake)


async def _many(count: int, run: Run) -> None:
    """Repeat something several times at once, whatever the server does."""

    async def repeat() -> None:
        while True:
            try:
                await run()
            except (OSError, grpc.aio.AioRpcError):
                await asyncio.sleep(_RECONNECT_SECONDS)

    await _together(*(repeat() for _ in range(count)))


async def _together(*running: Coroutine[None, None, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in running:
            group.create_task(each)


ATTACKS: Mapping[str, Callable[[Target, Extent], Coroutine[None, None, None]]] = {
    attack.__name__: attack
    for attack in (
        half_open,
        connections,
        streams_500,
        streams_1000,
        offsets,
        creates,
        jobs,
        headers,
        messages,
        resets,
        handshakes,
    )
}
