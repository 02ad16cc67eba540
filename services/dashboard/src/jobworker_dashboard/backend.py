"""The connection to the server. It passes serialized messages on and parses none."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import grpc

from jobworker_client import ClientConfig
from jobworker_client.channel import channel_parts
from jobworker_dashboard.connect_error import ConnectError

_RECEIVE_WINDOW: tuple[tuple[str, int], ...] = (
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 256 * 1024),
)
"""Bytes of each stream that gRPC receives ahead. By default it adapts this window to the fastest stream, and
then keeps a hundred MiB of each stream whose page does not read."""

Metadata = Sequence[tuple[str, str | bytes]]

Method: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
StreamCall: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"


class Backend:
    """A channel to one server. It connects on the first call, and reconnects when needed."""

    def __init__(self, config: ClientConfig) -> None:
        """Create the channel in the running event loop.

        Raises:
            InvalidAddress: `server` is not an address.
            InvalidCertificateFile: a file cannot be read or used.
        """
        parts = channel_parts(config)
        self.server = config.server
        self._channel = grpc.aio.secure_channel(
            parts.target, parts.credentials, options=(*parts.options, *_RECEIVE_WINDOW)
        )

    async def close(self) -> None:
        """End all calls."""
        await self._channel.close()

    async def unary(self, path: str, request: bytes, metadata: Metadata, timeout: float | None) -> bytes:  # noqa: ASYNC109 - the deadline of the call
        """Return the response to one request.

        Raises:
            ConnectError: the call failed.
        """
        method: Method = self._channel.unary_unary(path)
        try:
            return await method(request, metadata=tuple(metadata), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise ConnectError.from_rpc(error, self.server) from None

    def stream(self, path: str, metadata: Metadata) -> "BackendStream":
        """Open a stream. A method with one request is a stream with one request, with the same bytes."""
        call: StreamCall = self._channel.stream_stream(path)(metadata=tuple(metadata))
        return BackendStream(call, self.server)


class BackendStream:
    """One call with a stream of requests and a stream of responses."""

    def __init__(self, call: StreamCall, server: str) -> None:
        self._call = call
        self._server = server

    def cancel(self) -> None:
        """End the call, if it has not ended."""
        self._call.cancel()

    async def write(self, request: bytes) -> None:
        """Send a request when the server can take it. After the end of the call, `read` has the reason."""
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._wait_for_end()

    async def done_writing(self) -> None:
        """Send no more requests."""
        try:
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._wait_for_end()

    async def read(self) -> bytes | None:
        """Return the next response, or None at the end of a successful call.

        Raises:
            ConnectError: the call failed.
        """
        try:
            response: object = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise ConnectError.from_rpc(error, self._server) from None
        return response if isinstance(response, bytes) else None

    async def _wait_for_end(self) -> None:
        await self._call.code()
