"""The time for which a stream cannot reach its node."""

import asyncio
from collections.abc import Callable

from jobworker_gateway.node_errors import NodeError
from jobworkerd.errors import NodeUnreachable

_FIRST_DELAY = 0.1
_MAX_DELAY = 1.0

_PAUSE_SECONDS = 30.0
"""More than an attempt takes. After a longer time without a failure, the next one begins another outage."""


class Outage:
    """Failures without a success in between, and the delay before the next attempt."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begin = 0.0
        self._last = 0.0
        self._delay = _FIRST_DELAY
        self._error: NodeError | NodeUnreachable | None = None

    def add(self, error: NodeError | NodeUnreachable) -> None:
        """Count a failure."""
        now = self._clock()
        if self._error is None or now > self._last + _PAUSE_SECONDS:
            self._begin, self._delay = now, _FIRST_DELAY
        self._last = now
        self._error = error

    def end(self) -> None:
        """Forget the failures: the node has sent output."""
        self._error = None
        self._delay = _FIRST_DELAY

    async def wait(self, limit: float) -> None:
        """Wait before the next attempt.

        Raises:
            NodeError: the node has refused the call for `limit` seconds.
            NodeUnreachable: the node has not answered for `limit` seconds.
        """
        if self._error and self._clock() >= self._begin + limit:
            raise self._error
        await asyncio.sleep(self._delay)
        self._delay = min(2 * self._delay, _MAX_DELAY)
