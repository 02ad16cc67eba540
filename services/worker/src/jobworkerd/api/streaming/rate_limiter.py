"""Spaces the messages of all streams, so that the cost of small messages does not outgrow the host.

A job that prints a byte every millisecond would cost a message per byte for each of its followers. Messages
would queue up in the connections, and the followers would fall behind, further with every second. A stream
that waits for its turn sends all that is pending in one message instead.
"""

import asyncio
import math

INTERVAL_SECONDS, MIN_INTERVAL_SECONDS = 150e-6, 70e-6
"""The time between two messages: while streams wait no longer than `MAX_DELAY_SECONDS`, and the least of it.

Server and follower together need about 90 us of CPU time for a small message, on two cores.
"""

MAX_DELAY_SECONDS = 8e-3

BURST_SECONDS = 20e-3
"""After a pause, so much is sent without spaces: followers of a job that prints now and then never wait."""

TICK_SECONDS = 2e-3
"""Waits end at multiples of this, so that streams of the same job send the same message."""


class RateLimiter:
    """Hands out turns to all streams of this process, one after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._paid_until = 0.0

    async def wait(self) -> None:
        """Returns when the caller may send a message. Other tasks run before."""
        now = self._loop.time()
        await asyncio.sleep(max(0.0, self.reserve(now) - now))

    def reserve(self, now: float) -> float:
        """Takes the next turn, and returns its time: in the past if it need not be waited for.

        This is the virtual scheduling of the generic cell rate algorithm (ITU-T I.371).
        """
        delay = self._paid_until - now
        cost = INTERVAL_SECONDS if delay < MAX_DELAY_SECONDS else MIN_INTERVAL_SECONDS
        self._paid_until = max(self._paid_until, now - BURST_SECONDS) + cost
        return now if delay <= 0 else math.ceil(self._paid_until / TICK_SECONDS) * TICK_SECONDS
