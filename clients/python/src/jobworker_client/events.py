"""Events of streams and waits."""

from collections.abc import Callable
from dataclasses import dataclass

from jobworker_client.errors import JobWorkerError

__all__ = ["EventHandler", "Reconnecting", "StreamEvent", "TruncatedRange"]


@dataclass(frozen=True)
class TruncatedRange:
    """Output that the server no longer has: bytes `from_offset` up to, but excluding, `to_offset`."""

    from_offset: int
    to_offset: int
    reason: str


@dataclass(frozen=True)
class Reconnecting:
    """The stream or the wait broke with `error`, and the client reconnects.

    `offset` is the first byte to request. None means that no output arrived, so the first request repeats.
    """

    error: JobWorkerError
    offset: int | None


StreamEvent = TruncatedRange | Reconnecting
EventHandler = Callable[[StreamEvent], None]
