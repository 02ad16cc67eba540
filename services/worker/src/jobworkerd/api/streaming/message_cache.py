"""Caches encoded messages, so that several readers of a log share them."""

from typing import NamedTuple

from jobworkerd.api.streaming.encoding import Encoded
from jobworkerd.model import OutputSource


class Sources(NamedTuple):
    """The sources of a reader: one source `only`, or both. With `mixed`, a message can contain both."""

    only: OutputSource | None = None
    mixed: bool = False


class Range(NamedTuple):
    """The key of a message: the first piece between two offsets for a reader with these sources.

    The bytes of the log of a run never change, so a range always results in the same message.
    """

    run: tuple[str, str]
    offset: int
    end: int
    sources: Sources


class MessageCache:
    """A cache of at most `max_bytes` of messages. It evicts the least recently used messages first.

    The size of an entry includes its overhead.
    """

    _ENTRY_BYTES = 512
    """Memory of a range, a message without data, and their table entries (measured with Python 3.11)."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._messages: dict[Range, Encoded] = {}
        self._bytes = 0

    def get(self, wanted: Range) -> Encoded | None:
        """Return the message of a range, or None if it is not cached."""
        found = self._messages.pop(wanted, None)
        if found is not None:
            self._messages[wanted] = found
        return found

    def put(self, range_: Range, message: Encoded) -> None:
        """Add the message of a range that is not cached."""
        self._messages[range_] = message
        self._bytes += self._size(message)
        while self._bytes > self._max_bytes:
            oldest = next(iter(self._messages))
            self._bytes -= self._size(self._messages.pop(oldest))

    def _size(self, message: Encoded) -> int:
        return len(message.data) + self._ENTRY_BYTES
