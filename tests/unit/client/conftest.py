"""Fixtures that run a test with each client against a scripted server."""

import asyncio
import builtins
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jobworker_client import Chunk, Client, ClientConfig, Job, JobStream, Node, SyncClient, SyncJobStream
from scripted_endpoint import Endpoint, authority, certs, cluster, endpoint, server

__all__ = ["AnyClient", "any_client", "authority", "certs", "cluster", "config", "endpoint", "server"]


class AnyClient:
    """An awaitable interface to either client; calls of the client for threads run in a thread."""

    def __init__(self, client: Client | SyncClient) -> None:
        self.client = client

    async def call(self, method: str, *args: Any, **options: Any) -> Job:
        """Call a method and return its job."""
        job: Job
        if isinstance(self.client, Client):
            job = await getattr(self.client, method)(*args, **options)
        else:
            job = await asyncio.to_thread(getattr(self.client, method), *args, **options)
        return job

    async def list(self, **job_filter: Any) -> "builtins.list[Job]":
        """Return the jobs that `list` yields."""
        if isinstance(self.client, Client):
            return [job async for job in self.client.list(**job_filter)]
        jobs = self.client.list(**job_filter)
        return await asyncio.to_thread(builtins.list, jobs)

    async def list_nodes(self, **options: Any) -> "builtins.list[Node]":
        """Return the nodes that `list_nodes` yields."""
        if isinstance(self.client, Client):
            return [node async for node in self.client.list_nodes(**options)]
        nodes = self.client.list_nodes(**options)
        return await asyncio.to_thread(builtins.list, nodes)

    async def rest(self, stream: JobStream | SyncJobStream) -> "builtins.list[Chunk]":
        """Return the remaining chunks."""
        if isinstance(stream, JobStream):
            return [chunk async for chunk in stream]
        return await asyncio.to_thread(builtins.list, stream)

    async def next(self, stream: JobStream | SyncJobStream) -> Chunk:
        """Return the next chunk."""
        if isinstance(stream, JobStream):
            return await anext(stream)
        return await asyncio.to_thread(next, stream)


@pytest.fixture
def config(endpoint: Endpoint, certs: Path) -> ClientConfig:
    """Return the configuration of a connection to the scripted server as an admin."""
    return ClientConfig.from_directory(certs, server=f"localhost:{endpoint.port}")


@pytest.fixture(params=["asyncio", "sync"])
async def any_client(request: pytest.FixtureRequest, config: ClientConfig) -> AsyncIterator[AnyClient]:
    """Yield each client in turn, connected to the scripted server."""
    if request.param == "asyncio":
        async with Client(config) as client:
            yield AnyClient(client)
    else:
        with SyncClient(config) as threaded:
            yield AnyClient(threaded)
