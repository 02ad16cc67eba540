"""Frames on a stream socket: a length of four bytes (big-endian), followed by a msgpack message."""

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Far above the size of any message: a longer frame is a bug."""

_HEADER_BYTES = 4

T = TypeVar("T")


class FrameTooLong(ValueError):
    """Raised when the length of a frame exceeds `MAX_FRAME_BYTES`."""


def encode(message: msgspec.Struct) -> bytes:
    """Return the frame of one message.

    Raises:
        FrameTooLong: the message is too long.
    """
    body = msgspec.msgpack.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameTooLong(f"message of {len(body)} bytes; the maximum is {MAX_FRAME_BYTES}")
    return len(body).to_bytes(_HEADER_BYTES, "big") + body


class FrameDecoder(Generic[T]):
    """Decodes the bytes of a stream into messages, and checks their types."""

    def __init__(self, decoder: "msgspec.msgpack.Decoder[T]") -> None:
        self._decoder = decoder
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """Take the next bytes, and yield all complete messages.

        Raises:
            FrameTooLong: a frame is longer than `MAX_FRAME_BYTES`.
            msgspec.DecodeError: a frame does not contain a message of the type.
        """
        self._pending += data
        start = 0
        while (body := start + _HEADER_BYTES) <= len(self._pending):
            length = int.from_bytes(self._pending[start:body], "big")
            if length > MAX_FRAME_BYTES:
                raise FrameTooLong(f"frame of {length} bytes; the maximum is {MAX_FRAME_BYTES}")
            if body + length > len(self._pending):
                break
            message = self._decode(body, body + length)
            start = body + length
            yield message
        del self._pending[:start]

    def _decode(self, start: int, end: int) -> T:
        # No copy. All views must be released before the bytearray changes its size.
        with memoryview(self._pending) as pending, pending[start:end] as frame:
            return self._decoder.decode(frame)
