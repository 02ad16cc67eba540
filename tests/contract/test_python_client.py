"""The Python client, with asyncio and without, before a live server whose parts go away."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from jobworker_client import Client, Job, JobStatus, Limits, Resuming, SyncClient, Target, Truncated
from live import Server

LINES = 2_000_000
SCRIPT = f"seq 1 {LINES}; exit 3"
EXPECTED = b"".join(b"%d\n" % number for number in range(1, LINES + 1))

Read = Callable[[Server, Callable[[], None]], Awaitable[tuple[bytes, Job, list[Truncated | Resuming]]]]


def target(server: Server) -> Target:
    """The server, for an administrator."""
    return Target.from_folder(server.certs, server=server.address)


async def read_with_asyncio(
    server: Server, disturb: Callable[[], None]
) -> tuple[bytes, Job, list[Truncated | Resuming]]:
    """Returns what a job wrote, of which there was a part when the server was disturbed, and its end."""
    told: list[Truncated | Resuming] = []
    pieces: list[bytes] = []
    async with Client(target(server)) as client:
        job = await client.create("sh", "-c", SCRIPT, limits=Limits(cpu=100, memory=64))
        stream = client.stream(job.id, notify=told.append)
        async for chunk in stream:
            if not pieces:
                disturb()
            pieces.append(chunk.payload)
    return b"".join(pieces), stream.result, told


async def read_with_a_thread(
    server: Server, disturb: Callable[[], None]
) -> tuple[bytes, Job, list[Truncated | Resuming]]:
    """Does the same without asyncio."""

    def read() -> tuple[bytes, Job, list[Truncated | Resuming]]:
        told: list[Truncated | Resuming] = []
        pieces: list[bytes] = []
        with SyncClient(target(server)) as client:
            job = client.create("sh", "-c", SCRIPT, limits=Limits(cpu=100, memory=64))
            stream = client.stream(job.id, notify=told.append)
            for chunk in stream:
                if not pieces:
                    disturb()
                pieces.append(chunk.payload)
        return b"".join(pieces), stream.result, told

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("read", [read_with_asyncio, read_with_a_thread])
async def test_the_api_may_die_while_its_output_is_read(own_server: Server, read: Read) -> None:
    def disturb() -> None:
        for process in own_server.api_processes():
            process.kill()

    output, job, told = await read(own_server, disturb)
    assert output == EXPECTED
    assert (job.status, job.exit_code) == (JobStatus.JOB_STATUS_FAILED, 3)
    assert told
    assert all(isinstance(notice, Resuming) for notice in told)
