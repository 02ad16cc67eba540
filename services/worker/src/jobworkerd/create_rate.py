"""Bounds the rate of CreateJob calls, of each client and in total.

The generic cell rate algorithm (ITU-T I.371): a token bucket that stores one time per client. A bucket holds
the calls of one second, and at least one call.
"""

from collections.abc import Callable

from jobworkerd.errors import QuotaExceeded, ServerBusy

_ALL = ""
_FEW_CLIENTS = 1_024

_ROUNDING_SECONDS = 1e-6
"""More than the rounding errors of a sum of intervals."""


class _Buckets:
    """The buckets of clients that share a rate."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._tolerance = max(1.0 - self._interval, 0.0)
        self._full_at: dict[str, float] = {}
        """The time at which the bucket of a client is full again."""

    def delay(self, client: str, now: float) -> float:
        """Return the seconds until the next call of a client is accepted; 0 if it is accepted now."""
        delay = self._full_at.get(client, 0.0) - now - self._tolerance
        return delay if delay > _ROUNDING_SECONDS else 0.0

    def take(self, client: str, now: float) -> None:
        """Count an accepted call."""
        if not self._interval:
            return
        if len(self._full_at) >= _FEW_CLIENTS and client not in self._full_at:
            self._full_at = {each: full for each, full in self._full_at.items() if full > now}
        self._full_at[client] = max(self._full_at.get(client, 0.0), now) + self._interval


class CreateRate:
    """The rates of `quota.admin.create_rate` and `max_create_rate`."""

    def __init__(self, one: float, total: float, clock: Callable[[], float]) -> None:
        """Bound the calls per second of each client, and of all together; 0 = not bounded."""
        self._one, self._all = one, total
        self._clients, self._total = _Buckets(self._one), _Buckets(self._all)
        self._clock = clock

    def take(self, owner: str) -> None:
        """Count a call. A refused call does not count.

        Raises:
            QuotaExceeded: the client has made too many calls.
            ServerBusy: all clients together have made too many calls.
        """
        now = self._clock()
        if delay := self._clients.delay(owner, now):
            why = f"more than {self._one:g} CreateJob calls per second"
            raise QuotaExceeded("quota.admin.create_rate", self._one, why, "call less often", delay)
        if delay := self._total.delay(_ALL, now):
            why = f"clients make more than {self._all:g} CreateJob calls per second"
            raise ServerBusy("max_create_rate", self._all, why, delay)
        self._clients.take(owner, now)
        self._total.take(_ALL, now)
