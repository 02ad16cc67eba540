"""Both clients, asyncio's and the one for threads, behind one face, before a scripted server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jobworker_client import Chunk, Client, Job, Stream, SyncClient, SyncStream, Target
from scripted import Listening, authority, certs, listening, server

__all__ = ["Shell", "authority", "certs", "listening", "server", "shell", "target"]


class Shell:
    """One of the two clients, whose methods a test awaits whichever it is; a thread serves the other."""

    def __init__(self, client: Client | SyncClient) -> None:
        self.client = client

    async def call(self, method: str, *args: Any, **options: Any) -> Job:
        """Returns what a method returns."""
        job: Job
        if isinstance(self.client, Client):
            job = await getattr(self.client, method)(*args, **options)
        else:
            job = await asyncio.to_thread(getattr(self.client, method), *args, **options)
        return job

    async def listed(self, **which: Any) -> list[Job]:
        """Returns what `list` yields."""
        if isinstance(self.client, Client):
            return [job async for job in self.client.list(**which)]
        found = self.client.list(**which)
        return await asyncio.to_thread(list, found)

    async def rest(self, stream: Stream | SyncStream) -> list[Chunk]:
        """Returns the chunks up to the stream's end."""
        if isinstance(stream, Stream):
            return [chunk async for chunk in stream]
        return await asyncio.to_thread(list, stream)

    async def next(self, stream: Stream | SyncStream) -> Chunk:
        """Returns the next chunk."""
        if isinstance(stream, Stream):
            return await anext(stream)
        return await asyncio.to_thread(next, stream)


@pytest.fixture
def target(listening: Listening, certs: Path) -> Target:
    """The scripted server, for an administrator."""
    return Target.from_folder(certs, server=f"localhost:{listening.port}")


@pytest.fixture(params=["asyncio", "sync"])
async def shell(request: pytest.FixtureRequest, target: Target) -> AsyncIterator[Shell]:
    """A client of the scripted server, one after the other."""
    if request.param == "asyncio":
        async with Client(target) as client:
            yield Shell(client)
    else:
        with SyncClient(target) as threaded:
            yield Shell(threaded)
