"""Connections to the servers of the nodes, with the certificate of the gateway."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from google.protobuf.message import Message
from grpc import aio

from jobworker_client.errors import ConfigError
from jobworker_gateway import node_trace
from jobworker_gateway.node_certificate import NodeCertificate
from jobworker_gateway.node_errors import from_rpc
from jobworker_gateway.node_stream import NodeStream, StreamCall
from jobworkerd.errors import NodeUnreachable

SUBJECT_KEY = "jobworker-subject-bin"
"""The metadata that names the user for whom the gateway calls."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    # A cut link ends the calls after 10 s. Servers accept a ping every 5 s.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),
    # A connection attempt over a cut link fails after 5 s instead of 20 s.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # gRPC adapts its window to the fastest stream, and would then hold megabytes of each slow one.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 256 * 1024),
    # Without this, the connections to one node would be one.
    ("grpc.use_local_subchannel_pool", 1),
)

MAX_CALLS = 512
"""Calls on one connection. A server accepts 1,024. Further ones, such as a StopJob, would wait."""

_IDLE_SECONDS = 300.0
_LOOK_SECONDS = 5.0
"""Shortest time between two looks at the connections and at the certificate files."""

UnaryMethod: TypeAlias = "aio.UnaryUnaryMultiCallable[bytes, bytes]"


@dataclasses.dataclass(frozen=True)
class Node:
    """The name of a node, and the address of its server."""

    name: str
    address: str


class NodeConnection:
    """A channel to one node. It connects on the first call, and reconnects when needed."""

    def __init__(self, node: Node, channel: aio.Channel, opened: float) -> None:
        self.calls = 0
        self.used = opened
        self.retired = False
        """True if it ends with its last call."""
        self.node = node
        self._channel = channel

    async def unary(
        self,
        path: str,
        request: Message,
        subject: str,
        timeout: float | None,  # noqa: ASYNC109 - the deadline of the call
    ) -> bytes:
        """Return the serialized response to one request of a user.

        Raises:
            NodeError: the node refuses the call.
            NodeUnreachable: the node does not answer.
        """
        method: UnaryMethod = self._channel.unary_unary(path)
        try:
            return await method(request.SerializeToString(), metadata=_metadata(subject), timeout=timeout)
        except aio.AioRpcError as error:
            raise from_rpc(error, self.node.name) from None

    def stream(self, path: str, subject: str) -> NodeStream:
        """Open a stream. A method with one request is a stream with one request, with the same bytes."""
        call: StreamCall = self._channel.stream_stream(path)(metadata=_metadata(subject))
        return NodeStream(call, self.node.name)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


class NodeConnections:
    """Connections to the nodes of open calls: one per 512 calls of a node. Unused ones are closed."""

    def __init__(self, certificate: NodeCertificate, clock: Callable[[], float]) -> None:
        self._certificate = certificate
        self._clock = clock
        self._connections: list[NodeConnection] = []
        self._looked = clock() - _LOOK_SECONDS

    @asynccontextmanager
    async def open(self, node: Node) -> AsyncIterator[NodeConnection]:
        """Return a connection for a call.

        Raises:
            NodeUnreachable: the node has no usable address, or the certificate of the gateway is not usable.
        """
        await self.close_unused()
        connection = self._with_room(node) or self._connect(node)
        connection.calls += 1
        try:
            yield connection
        finally:
            connection.calls -= 1
            connection.used = self._clock()
            if connection.retired and not connection.calls:
                await connection.close()

    async def close(self) -> None:
        """Close all connections. Their calls fail."""
        connections, self._connections = self._connections, []
        for connection in connections:
            await connection.close()

    def _with_room(self, node: Node) -> NodeConnection | None:
        with_room = (each for each in self._connections if each.node == node and each.calls < MAX_CALLS)
        return next(with_room, None)

    def _connect(self, node: Node) -> NodeConnection:
        try:
            parts = self._certificate.channel_parts(node.address)
        except ConfigError as error:
            raise NodeUnreachable(node.name, str(error)) from error
        options = {**dict(parts.options), **dict(_OPTIONS)}
        channel = aio.secure_channel(parts.target, parts.credentials, options=tuple(options.items()))
        connection = NodeConnection(node, channel, self._clock())
        self._connections.append(connection)
        return connection

    async def close_unused(self) -> None:
        """Close idle connections, and those with a certificate that has been replaced."""
        now = self._clock()
        if now < self._looked + _LOOK_SECONDS:
            return
        self._looked = now
        is_renewed = self._certificate.is_renewed()
        for connection in self._connections:
            is_idle = not connection.calls and now > connection.used + _IDLE_SECONDS
            connection.retired = is_renewed or is_idle
        unused = [each for each in self._connections if each.retired]
        self._connections = [each for each in self._connections if not each.retired]
        for connection in unused:
            if not connection.calls:
                await connection.close()


def _metadata(subject: str) -> aio.Metadata:
    """Return the metadata of a call for a user, in the trace of the user's call."""
    return aio.Metadata((SUBJECT_KEY, subject.encode()), *node_trace.current().metadata)
