"""Sends the response headers of a streaming RPC before its first message.

gRPC sends them with the first message, which of a silent job may be hours away. Until then some clients
do not return from the call (tonic), and proxies time out.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from jobworkerd.api.rpc import Context

Accepting = Callable[[Any, Context], AbstractAsyncContextManager[Callable[[], Awaitable[None]]]]
"""A streaming method: entering it accepts the request or raises; what it yields writes the messages."""

Generating = Callable[[Any, Context], AsyncIterator[Any]]


def after_acceptance(method: Accepting) -> Callable[[Any, Context], Awaitable[None]]:
    """Returns a handler that sends the headers once the request is accepted: a refusal needs none."""

    async def handler(request: object, context: Context) -> None:
        async with method(request, context) as write:
            await context.send_initial_metadata(())
            await write()

    return handler


def at_once(method: Generating) -> Generating:
    """Returns a handler that sends the headers before it waits for a request."""

    async def handler(requests: object, context: Context) -> AsyncIterator[Any]:
        await context.send_initial_metadata(())
        async for message in method(requests, context):
            yield message

    return handler
