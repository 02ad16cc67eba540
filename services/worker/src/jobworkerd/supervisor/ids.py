"""Job ids: UUIDv7 (RFC 9562, 5.7), which sort by the time they were made."""

import os
import time
import uuid

_RAND_A_BITS = 12


class JobIds:
    """Makes ids, each greater than the one before, also within a millisecond and over a clock step back.

    The time has 48 bits of milliseconds and, in `rand_a`, 12 more bits of the fraction (RFC 9562, 6.2,
    method 3); the other 62 bits are random.
    """

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        """Returns the next id, 36 characters in lower case."""
        ticks = (time.time_ns() << _RAND_A_BITS) // 1_000_000
        self._last = max(ticks, self._last + 1)
        milliseconds, rand_a = divmod(self._last, 1 << _RAND_A_BITS)
        rand_b = int.from_bytes(os.urandom(8), "big") >> 2
        return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b))
