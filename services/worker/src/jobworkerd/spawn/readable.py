"""Waits for descriptors without blocking the event loop."""

import asyncio
from functools import partial

from jobworkerd.retry import retry_while_exhausted


async def readable(descriptor: int) -> None:
    """Wait until a descriptor has input or is at its end. A pidfd has input when its process has ended."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    await retry_while_exhausted(partial(loop.add_reader, descriptor, _set, ready))
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
