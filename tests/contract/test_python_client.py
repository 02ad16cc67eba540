"""Tests of both Python clients against a live server whose API processes die."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest

from jobworker_client import (
    Client,
    ClientConfig,
    Job,
    JobStatus,
    JobStdin,
    Limits,
    Reconnecting,
    StreamEvent,
    SyncClient,
)
from live import Server

LINES = 2_000_000
SCRIPT = f"seq 1 {LINES}; exit 3"
EXPECTED = b"".join(b"%d\n" % number for number in range(1, LINES + 1))

Result = tuple[bytes, Job, list[StreamEvent]]
"""The output, the final job, and the events of the stream."""
Read = Callable[[Server, Callable[[], None]], Awaitable[Result]]


def config(server: Server) -> ClientConfig:
    """Return the configuration of a connection as an admin."""
    return ClientConfig.from_directory(server.certs, server=server.address)


async def read_with_asyncio(server: Server, disturb: Callable[[], None]) -> Result:
    """Read the output of a job; call `disturb` after the first chunk."""
    events: list[StreamEvent] = []
    payloads: list[bytes] = []
    async with Client(config(server)) as client:
        job = await client.create("sh", "-c", SCRIPT, limits=Limits(max_cpu=100, max_memory=64))
        stream = client.stream(job.id, on_event=events.append)
        async for chunk in stream:
            if not payloads:
                disturb()
            payloads.append(chunk.payload)
    return b"".join(payloads), stream.result, events


async def read_with_thread(server: Server, disturb: Callable[[], None]) -> Result:
    """Do the same with the client for threads."""

    def read() -> Result:
        events: list[StreamEvent] = []
        payloads: list[bytes] = []
        with SyncClient(config(server)) as client:
            job = client.create("sh", "-c", SCRIPT, limits=Limits(max_cpu=100, max_memory=64))
            stream = client.stream(job.id, on_event=events.append)
            for chunk in stream:
                if not payloads:
                    disturb()
                payloads.append(chunk.payload)
        return b"".join(payloads), stream.result, events

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("read", [read_with_asyncio, read_with_thread])
async def test_stream_survives_the_death_of_api_processes(own_server: Server, read: Read) -> None:
    def disturb() -> None:
        for process in own_server.api_processes():
            process.kill()

    output, job, events = await read(own_server, disturb)
    assert output == EXPECTED
    assert (job.status, job.exit_code) == (JobStatus.JOB_STATUS_FAILED, 3)
    assert events
    assert all(isinstance(event, Reconnecting) for event in events)


async def test_input_from_a_thread_survives_the_death_of_api_processes(own_server: Server) -> None:
    pieces = [os.urandom(1 << 18) for _ in range(16)]

    def source() -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number in {4, 9}:
                for process in own_server.api_processes():
                    process.kill()
            yield piece

    def attach() -> bytes:
        with SyncClient(config(own_server)) as client:
            limits = Limits(max_cpu=100, max_memory=64)
            job = client.create("sha256sum", stdin=JobStdin.JOB_STDIN_ONCE, limits=limits)
            return b"".join(chunk.payload for chunk in client.attach(job.id, source()))

    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert await asyncio.to_thread(attach) == f"{digest}  -\n".encode()
