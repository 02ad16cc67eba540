"""Prepares spare processes and a log file for the next jobs."""

import asyncio

from jobworkerd.supervisor.job_context import JobContext

_REFILL_DELAY_SECONDS = 0.003
"""Delay before the pool is refilled, so that refilling does not compete with the CreateJob response."""

_HOST_CHANGE_DELAY_SECONDS = 0.25
"""Changes of the host's mounts that follow one another within this time count as one."""


class Preparation:
    """Decides when to prepare, so that it does not delay requests."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """Prepare soon. Postpone this as long as spare processes are left."""
        if self._timer:
            if not self._context.spare_pool.size:
                return
            self._timer.cancel()
        self._timer = self._context.loop.call_later(_REFILL_DELAY_SECONDS, self.prepare)

    def host_changed(self) -> None:
        """Discard the spare processes, which have an old view of the host, and replace them later."""
        self._context.spare_pool.drop()
        self.close()
        self._timer = self._context.loop.call_later(_HOST_CHANGE_DELAY_SECONDS, self.prepare)

    def prepare(self) -> None:
        """Prepare spare processes and a log file for the next jobs."""
        self._timer = None
        self._context.spare_pool.refill()
        self._context.logs.prepare()

    def close(self) -> None:
        """Prepare nothing more."""
        if self._timer:
            self._timer.cancel()
