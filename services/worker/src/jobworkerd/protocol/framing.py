"""Frames on a stream socket: a length of four bytes, big-endian, then that many bytes of msgpack."""

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Far above any message: a longer frame is a bug, not a message to wait for."""

_HEADER_BYTES = 4

T = TypeVar("T")


class FrameTooLong(ValueError):
    """Raised when a frame says that it is longer than `MAX_FRAME_BYTES`."""


def encode(message: msgspec.Struct) -> bytes:
    """Returns the frame of one message."""
    body = msgspec.msgpack.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameTooLong(f"a message of {len(body)} bytes")
    return len(body).to_bytes(_HEADER_BYTES, "big") + body


class FrameDecoder(Generic[T]):
    """Turns the bytes of a stream into messages, checked against their type."""

    def __init__(self, decoder: "msgspec.msgpack.Decoder[T]") -> None:
        self._decoder = decoder
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """Takes the next bytes and yields the messages that are whole by now.

        Raises:
            FrameTooLong: a frame is longer than any message.
            msgspec.DecodeError: a frame is not a message of the type.
        """
        self._pending += data
        start = 0
        while (body := start + _HEADER_BYTES) <= len(self._pending):
            length = int.from_bytes(self._pending[start:body], "big")
            if length > MAX_FRAME_BYTES:
                raise FrameTooLong(f"a frame of {length} bytes")
            if body + length > len(self._pending):
                break
            message = self._decode(body, body + length)
            start = body + length
            yield message
        del self._pending[:start]

    def _decode(self, start: int, end: int) -> T:
        # Without a copy; a view has to be gone before the bytearray can change its size.
        with memoryview(self._pending) as pending, pending[start:end] as frame:
            return self._decoder.decode(frame)
