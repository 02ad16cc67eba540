"""Keys that the user has typed and the server has not accepted yet."""

import asyncio

__all__ = ["TypedKeys"]

_MAX_BYTES = 4 << 20
"""Bound on the keys, such as a paste, while the server does not accept them."""


class TypedKeys:
    """A buffer between the terminal and the server.

    The terminal is read ahead, so that the user can detach while the server is away.
    """

    def __init__(self) -> None:
        self.total = 0
        """The number of bytes that the user has typed."""
        self._keys = bytearray()
        self._changed = asyncio.Condition()

    async def put(self, keys: bytes) -> None:
        """Add keys; wait if the buffer is full."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._keys) < _MAX_BYTES)
            self._keys += keys
            self.total += len(keys)
            self._changed.notify_all()

    async def take(self) -> bytes:
        """Wait for keys and remove all of them."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._keys)
            keys = bytes(self._keys)
            self._keys.clear()
            self._changed.notify_all()
            return keys
