"""Limits the rate of messages of all streams, so that small messages do not overload the host.

If a job prints a byte every millisecond, each follower would get a message per byte. Messages would queue in
the connections, and the followers would fall further and further behind. A stream that waits for its turn
sends all pending bytes in one message.
"""

import asyncio
import math

INTERVAL_SECONDS, MIN_INTERVAL_SECONDS = 150e-6, 70e-6
"""The interval between two messages: if streams wait less than `MAX_DELAY_SECONDS`, and the minimum.

Server and follower together need about 90 us of CPU time for a small message, on two cores.
"""

MAX_DELAY_SECONDS = 8e-3

BURST_SECONDS = 20e-3
"""Burst after a pause, so that followers of a job that prints occasionally never wait."""

TICK_SECONDS = 2e-3
"""Waits end at multiples of this time, so that streams of one job share messages."""


class RateLimiter:
    """Gives turns to the streams of this process, one after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._next_turn = 0.0

    async def wait(self) -> None:
        """Wait until the stream can send a message. Other tasks run first."""
        now = self._loop.time()
        await asyncio.sleep(max(0.0, self.reserve(now) - now))

    def reserve(self, now: float) -> float:
        """Reserve the next turn and return its time, which is `now` if the stream can send at once.

        This is the virtual scheduling variant of the generic cell rate algorithm (ITU-T I.371).
        """
        delay = self._next_turn - now
        cost = INTERVAL_SECONDS if delay < MAX_DELAY_SECONDS else MIN_INTERVAL_SECONDS
        self._next_turn = max(self._next_turn, now - BURST_SECONDS) + cost
        return now if delay <= 0 else math.ceil(self._next_turn / TICK_SECONDS) * TICK_SECONDS
