"""Flow control of one stream: towards the page by a window, from the page by a bounded queue."""

import asyncio
from collections import deque

WINDOW_BYTES = 4 * 1024 * 1024
"""Bytes of responses that the page has not consumed. A browser reads a WebSocket into its memory without a
bound, so the page reports what it has consumed."""

MAX_QUEUED_BYTES = 1024 * 1024
"""Bytes of requests that the server has not accepted. A page sends four pieces of 64 KiB ahead at most."""

_OVERHEAD_BYTES = 64
"""Size of a request in the queue beyond its bytes. Without it, empty requests would have no bound."""


class Window:
    """The bytes that can be sent before the page has to consume some."""

    def __init__(self) -> None:
        self._sent = 0
        self._consumed = 0
        self._changed = asyncio.Event()

    def consumed(self, total: int) -> None:
        """Record how many bytes of the stream the page has consumed."""
        self._consumed = max(self._consumed, total)
        self._changed.set()

    def sent(self, count: int) -> None:
        """Record bytes that were sent."""
        self._sent += count

    async def wait_open(self) -> None:
        """Wait until the window has room. One message may exceed it."""
        while self._sent - self._consumed >= WINDOW_BYTES:
            self._changed.clear()
            await self._changed.wait()


class RequestQueue:
    """The requests of a stream that the server has not accepted yet.

    The proxy always reads from the WebSocket, so that it notices at once when the client is gone.
    """

    def __init__(self) -> None:
        self._requests: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = asyncio.Event()

    def put(self, request: bytes) -> bool:
        """Add a request, unless the queue is full or the client has ended its requests."""
        if self._ended or (self._requests and self._bytes + _size(request) > MAX_QUEUED_BYTES):
            return False
        self._requests.append(request)
        self._bytes += _size(request)
        self._changed.set()
        return True

    def end(self) -> None:
        """Record that no request follows."""
        self._ended = True
        self._changed.set()

    async def get(self) -> bytes | None:
        """Wait for the next request and return it; None after the last one."""
        while not self._requests:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        request = self._requests.popleft()
        self._bytes -= _size(request)
        return request


def _size(request: bytes) -> int:
    return len(request) + _OVERHEAD_BYTES
