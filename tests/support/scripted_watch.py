"""Scripts for the watches of a `FakeServer`."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from scripted import FakeServer
from scripted_messages import Refusal
from watch_messages import WatchMessage, WatchRequest


def play_watch(server: FakeServer, *streams: Sequence[WatchMessage | Refusal]) -> None:
    """Serve one of the streams per call. The last one stays open."""
    script = list(streams)

    async def watching(_: WatchRequest) -> AsyncIterator[WatchMessage]:
        for message in script.pop(0):
            if isinstance(message, Refusal):
                raise message
            yield message
        await asyncio.Event().wait()

    server.watching = watching
