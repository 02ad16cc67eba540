"""The lease of the host in its cluster, which the agent renews as long as it reaches the control plane."""

import asyncio
from collections.abc import Callable

from jobworkerd.records.store import Records
from jobworkerd.supervisor.boot import boot_id, boot_time

_META = "lease"
_LOOK_SECONDS = 1.0
"""Longest time between two looks at the clock. The timers of the loop stop while the host is suspended."""


class Lease:
    """The owner of a timer that runs until the end of the lease, or until `close`.

    The records have the end of the lease, so that another supervisor continues it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        records: Records,
        on_end: Callable[[], None],
        clock: Callable[[], float] = boot_time,
    ) -> None:
        """`on_end` is called when the lease ends. Before `resume`, there is no lease."""
        self._loop = loop
        self._records = records
        self._on_end = on_end
        self._clock = clock
        self._boot = boot_id()
        self._end = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def resume(self) -> None:
        """Continue the lease of an earlier supervisor. Without one, the lease has ended.

        Raises:
            OSError: the records cannot be read.
        """
        boot, _, end = self._records.meta(_META).partition(" ")
        # The clock starts again at each boot.
        self._end = float(end) if boot == self._boot else 0.0
        self._look()

    @property
    def holds(self) -> bool:
        """Whether the host has the lease."""
        return self._clock() < self._end

    async def renew(self, seconds: float, not_after: float | None = None) -> None:
        """Let the lease end in some seconds. Return when a restart cannot shorten it any more.

        `not_after` is the boot time after which the cluster may give up the host. A renewal with it that
        arrives after a later one changes nothing.
        """
        if not self.holds:
            # It can have ended since the last look, while the host was suspended. The cluster may have given
            # up its jobs, so they must not continue with the new lease.
            self._on_end()
        end = self._clock() + seconds
        self._end = end if not_after is None else max(self._end, min(end, not_after))
        self._look()
        await self._records.store_meta(_META, f"{self._boot} {self._end!r}")

    def close(self) -> None:
        """Stop the timer."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self.close()
        left = self._end - self._clock()
        if left > 0:
            self._timer = self._loop.call_later(min(left, _LOOK_SECONDS), self._look)
        else:
            self._on_end()
