"""A server with the interceptors and the method of a test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import grpc
import pytest
from grpc import aio

from jobworkerd.rpc_server.interceptors.server_interceptor import InterceptorChain, ServerInterceptor
from jobworkerd.rpc_server.rpc import Context

Behaviour = Callable[[Context], Awaitable[None]]
SERVICE = "test.v1.Test"
METHODS = ("Unary", "Write", "Yield")
"""A unary method, a stream that writes to the context, and a stream that yields."""


@dataclass
class Method:
    """A client that calls a method of the server."""

    channel: aio.Channel

    async def call(self, method: str, seconds: float | None = 30.0, traceparent: str = "") -> list[bytes]:
        """Return the messages of a response."""
        metadata = [("traceparent", traceparent)] if traceparent else []
        if method == "Unary":
            return [await self._unary(method)(b"", timeout=seconds, metadata=metadata)]
        return [message async for message in self._stream(method)(b"", timeout=seconds, metadata=metadata)]

    def start(self, method: str) -> aio.Call:
        """Start a call."""
        return self._unary(method)(b"") if method == "Unary" else self._stream(method)(b"")

    def _unary(self, method: str) -> "aio.UnaryUnaryMultiCallable[bytes, bytes]":
        return self.channel.unary_unary(f"/{SERVICE}/{method}")

    def _stream(self, method: str) -> "aio.UnaryStreamMultiCallable[bytes, bytes]":
        return self.channel.unary_stream(f"/{SERVICE}/{method}")


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Method]]


@pytest.fixture
def serve() -> Serve:
    """Start a server. It runs the behaviour, then sends `two`. Its streams send `one` first."""

    @contextlib.asynccontextmanager
    async def start(behaviour: Behaviour, *interceptors: ServerInterceptor) -> AsyncIterator[Method]:
        server = aio.server(interceptors=[InterceptorChain(interceptors)])
        server.add_generic_rpc_handlers((_handlers(behaviour),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Method(channel)
        finally:
            await server.stop(None)

    return start


def _handlers(behaviour: Behaviour) -> grpc.GenericRpcHandler:
    async def unary(_request: bytes, context: Context) -> bytes:
        await behaviour(context)
        return b"two"

    async def write(_request: bytes, context: Context) -> None:
        await context.write(b"one")
        await behaviour(context)
        await context.write(b"two")

    async def generate(_request: bytes, context: Context) -> AsyncIterator[bytes]:
        yield b"one"
        await behaviour(context)
        yield b"two"

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Write": grpc.unary_stream_rpc_method_handler(write),
        "Yield": grpc.unary_stream_rpc_method_handler(generate),
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


async def nothing(_context: Context) -> None:
    """Return immediately."""


async def bug(_context: Context) -> None:
    """Raise an unexpected exception."""
    raise RuntimeError("the secret of the server")


async def refuse(context: Context) -> None:
    """Abort the call with a status."""
    await context.abort(grpc.StatusCode.DATA_LOSS, "gone")


async def forever(_context: Context) -> None:
    """Never returns."""
    await asyncio.Event().wait()
