"""One streaming call to a node."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeAlias

import grpc
from grpc import aio

from jobworker_gateway.node_errors import from_rpc
from jobworkerd.errors import NodeUnreachable

ACCEPT_SECONDS = 10.0
"""Time for a node to accept a call. The gRPC threads of a server that hangs still answer pings."""

StreamCall: TypeAlias = "aio.StreamStreamCall[bytes, bytes]"


class NodeStream:
    """A call with a stream of serialized requests and a stream of serialized responses.

    It reads a response when the caller asks for it, so a slow client slows the node down.
    """

    def __init__(self, call: StreamCall, node: str) -> None:
        self._call = call
        self._node = node
        self._is_interrupted = False

    def interrupt(self) -> None:
        """End the call, and let `read` raise NodeUnreachable, also if it waits now."""
        self._is_interrupted = True
        self._call.cancel()

    def cancel(self) -> None:
        """End the call, if it has not ended."""
        self._call.cancel()

    async def write(self, request: bytes) -> None:
        """Send a request when the node can take it. After the end of the call, `read` has the reason."""
        await self._send(self._call.write(request))

    async def done_writing(self) -> None:
        """Send no more requests."""
        await self._send(self._call.done_writing())

    async def _send(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except (aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.code()

    async def request(self, request: bytes) -> None:
        """Send the only request, and wait until the node accepts it.

        Raises:
            NodeError: the node refuses the request.
            NodeUnreachable: the node does not answer in time.
        """
        async with self._accepting():
            await self.write(request)
            await self.done_writing()

    async def begin(self, request: bytes) -> None:
        """Send the first request, and wait until the node accepts it.

        Raises:
            NodeError: the node refuses the request.
            NodeUnreachable: the node does not answer in time.
        """
        async with self._accepting():
            await self.write(request)

    @asynccontextmanager
    async def _accepting(self) -> AsyncIterator[None]:
        """Wait for the headers, which the node sends when it accepts the request. A refusal ends the call."""
        try:
            async with asyncio.timeout(ACCEPT_SECONDS):
                yield
                await self._call.initial_metadata()
        except TimeoutError:
            self.cancel()
            problem = f"it did not accept the call within {ACCEPT_SECONDS:g} s"
            raise NodeUnreachable(self._node, problem) from None
        if self._call.done() and await self._call.code() is not grpc.StatusCode.OK:
            await self.read()

    async def read(self) -> bytes | None:
        """Return the next response; None at the end of a successful call.

        Raises:
            NodeError: the node has ended the call.
            NodeUnreachable: the connection broke, or `interrupt` was called.
        """
        try:
            response: object = await self._call.read()
        except aio.AioRpcError as error:
            raise from_rpc(error, self._node) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._is_interrupted or (task and task.cancelling()):
                raise
            raise NodeUnreachable(self._node, "the gateway has ended the call") from None
        return response if isinstance(response, bytes) else None
