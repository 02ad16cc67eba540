"""The server that an attacker attacks, and the extent of the attack."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import http2

from live_client import credentials


class Extent:
    """The extent of an attack: a number of calls, or of connections or streams that are open together."""

    def __init__(self) -> None:
        self.value = 0
        self._open = 0

    def count(self) -> None:
        """Count a call."""
        self.value += 1

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Count a connection or a stream while it is open."""
        self._open += 1
        self.value = max(self.value, self._open)
        try:
            yield
        finally:
            self._open -= 1


@dataclass(frozen=True)
class Target:
    """The attacked server, the clients' certificates, and a finished job with output."""

    address: str
    certs: Path
    job_id: str

    @property
    def host_port(self) -> tuple[str, int]:
        """The address for sockets."""
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    def channel(self, name: str) -> grpc.aio.Channel:
        """Return a new connection with the certificate of a client. Its unread streams take 64 KiB each."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
        return grpc.aio.secure_channel(self.address, credentials(self.certs, name), options)

    @contextlib.asynccontextmanager
    async def http2(self) -> AsyncIterator[asyncio.StreamWriter]:
        """Connect as a viewer that can violate HTTP/2. The response is dropped."""
        context = http2.client_context(
            *(self.certs / f"{name}.pem" for name in ("ca", "viewer", "viewer-key"))
        )
        reader, writer = await asyncio.open_connection(
            *self.host_port, ssl=context, server_hostname="localhost"
        )
        dropping = asyncio.create_task(reader.read())
        try:
            writer.write(http2.PREFACE)
            yield writer
        finally:
            dropping.cancel()
            writer.transport.abort()
