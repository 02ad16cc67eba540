"""Sends the response headers of a streaming RPC before its first message.

gRPC sends the headers with the first message, which a silent job may write hours later. Until then, some
clients such as tonic do not return from the call, and proxies time out.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from jobworkerd.rpc_server.rpc import Context

Accepting = Callable[[Any, Context], AbstractAsyncContextManager[Callable[[], Awaitable[None]]]]
"""A streaming method. Entering it accepts the request or raises; the yielded function writes the messages."""

Generating = Callable[[Any, Context], AsyncIterator[Any]]


def after_acceptance(method: Accepting) -> Callable[[Any, Context], Awaitable[None]]:
    """Return a handler that sends the headers after it has accepted the request."""

    async def handler(request: object, context: Context) -> None:
        async with method(request, context) as write:
            await context.send_initial_metadata(())
            await write()

    return handler


def at_once(method: Generating) -> Generating:
    """Return a handler that sends the headers before it reads a request."""

    async def handler(requests: object, context: Context) -> AsyncIterator[Any]:
        await context.send_initial_metadata(())
        async for message in method(requests, context):
            yield message

    return handler
