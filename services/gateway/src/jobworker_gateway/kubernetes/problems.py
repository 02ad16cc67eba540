"""Problems of the watches of the gateway: how long they last, and what the log says about them."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from jobworker_cluster.reflector import NOT_LISTED
from jobworker_gateway.kubernetes.cluster_errors import REFUSED, UNREACHABLE

_LOOK_SECONDS = 0.5

REFUSAL_DELAYS = (0.3, 0.6)
"""Delays before a refused call is repeated. An apiserver usually has the rights 0.2 s after its start.

Together they are less than the time in which a job can be withdrawn after its Pod was refused.
"""

_START_SECONDS = 30.0
"""Time in which an apiserver that has just started loads the rights. Until then, it refuses all calls."""


class Watch(Protocol):
    """A watch, such as a Reflector."""

    is_refused: bool


class Problems:
    """Logs each problem once, and its end."""

    def __init__(
        self,
        current: Callable[[], str],
        watches: Iterable[Watch],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`current` returns the problem now, or an empty string."""
        self._current = current
        self._watches = watches
        self._clock = clock
        self._since: float | None = None
        self._reported = ""
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    @property
    def is_recent(self) -> bool:
        """Whether there is a problem, but not for long: an apiserver can be starting."""
        if not self._current():
            return False
        return self._since is None or self._clock() < self._since + _START_SECONDS

    async def run(self) -> None:
        """Look twice per second, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Log a problem that is new, and the end of one that was logged."""
        problem = self._current()
        if not problem:
            if self._reported:
                self._log.info("cluster reachable again")
            self._since, self._reported = None, ""
            return
        if self._since is None:
            self._since = self._clock()
        if self._is_refused():
            if self._reported != REFUSED:
                self._log.warning(REFUSED, reason=problem)
                self._reported = REFUSED
        elif not self._reported and not problem.endswith(NOT_LISTED):
            self._log.warning(UNREACHABLE, reason=problem)
            self._reported = UNREACHABLE

    def _is_refused(self) -> bool:
        is_start = self._reported == UNREACHABLE and self.is_recent
        return not is_start and any(each.is_refused for each in self._watches)
