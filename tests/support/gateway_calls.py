"""Calls of a gateway's service without a server: contexts, and identities of clients."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from google.protobuf.message import Message
from grpc import aio

from cluster_jobs import ALICE
from jobworker_gateway.creation import Creation
from jobworker_gateway.jobs import Jobs
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.service import GatewayJobService
from jobworkerd.config import Config
from jobworkerd.rpc_server.identity.principal import Identities, Principal, Role


class Call:
    """The context of a call: what the client sends, and what it gets."""

    def __init__(self, *requests: Message, seconds: float | None = None, **metadata: str) -> None:
        self.requests: asyncio.Queue[object] = asyncio.Queue()
        self.responses: asyncio.Queue[bytes] = asyncio.Queue()
        self._seconds = seconds
        self._metadata = tuple(metadata.items())
        for request in requests:
            self.requests.put_nowait(request)

    async def read(self) -> object:
        """Return the next request."""
        return await self.requests.get()

    async def write(self, message: bytes) -> None:
        """Take a message."""
        self.responses.put_nowait(message)

    def send(self, *requests: Message) -> None:
        """Send more requests."""
        for request in requests:
            self.requests.put_nowait(request)

    def end(self) -> None:
        """Send no more requests."""
        self.requests.put_nowait(aio.EOF)

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what the client sends with the call."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Return the time until the deadline."""
        return self._seconds

    @property
    def context(self) -> aio.ServicerContext[Any, Any]:
        """The context for the service."""
        return cast("aio.ServicerContext[Any, Any]", self)


def service_of(
    jobs: Jobs, nodes: NodeConnections, config: Config | None = None, queues: Sequence[str] = ("batch",)
) -> GatewayJobService:
    """Return a service whose client is Alice."""
    config = config or Config()
    identities = SimpleNamespace(principal=lambda _context: Principal(ALICE, Role.ADMIN))
    creation = Creation(config, queues)
    return GatewayJobService(config, creation, jobs, nodes, cast("Identities", identities))
