"""Keeps the messages that were encoded last, for the readers that come to the same place of a log next."""

from typing import NamedTuple

from jobworkerd.api.streaming.encoding import Encoded
from jobworkerd.model import OutputSource


class Sources(NamedTuple):
    """What a reader takes: the output of one source `only`, or all, and with `mixed` both in one message."""

    only: OutputSource | None = None
    mixed: bool = False


class Range(NamedTuple):
    """What a message was made from: the first piece between two offsets that a reader takes.

    A log's bytes never change, so neither does what this range gives.
    """

    job_id: str
    offset: int
    end: int
    sources: Sources


class MessageCache:
    """At most `max_bytes` of messages; those that were not asked for the longest go first.

    An entry counts as its message and what it takes besides.
    """

    _ENTRY_BYTES = 512
    """Of a range, a message without its data, and their places in the table (seen with Python 3.11)."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._messages: dict[Range, Encoded] = {}
        self._bytes = 0

    def get(self, wanted: Range) -> Encoded | None:
        """Returns the message of a range, or None if it is not there."""
        found = self._messages.pop(wanted, None)
        if found is not None:
            self._messages[wanted] = found
        return found

    def put(self, made_from: Range, message: Encoded) -> None:
        """Keeps a message of a range that is not there."""
        self._messages[made_from] = message
        self._bytes += self._size(message)
        while self._bytes > self._max_bytes:
            oldest = next(iter(self._messages))
            self._bytes -= self._size(self._messages.pop(oldest))

    def _size(self, message: Encoded) -> int:
        return len(message.data) + self._ENTRY_BYTES
