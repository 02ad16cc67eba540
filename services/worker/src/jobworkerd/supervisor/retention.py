"""Removes the oldest final jobs beyond the bounds of the configuration, in small steps."""

import asyncio
import time

from jobworkerd.config import RetentionConfig
from jobworkerd.protocol.change_log import RemovalReason
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.removal import Removal

_JOBS_PER_STEP = 20
_CHECK_SECONDS = 60.0
"""Interval of the checks on a server on which no job ends."""

_PAUSE_PER_STEP = 3
"""The pause after a step, as a multiple of its time: the removal takes a quarter of a core."""

_MAX_PAUSE_SECONDS = 0.05
"""A busy server takes longer for a step. The removal must still keep up with the jobs that end."""

_SECOND_NS = 10**9


class Retention:
    """The background task that removes jobs, and the timer that starts it."""

    def __init__(self, config: RetentionConfig, removal: Removal, context: JobContext) -> None:
        self._config = config
        self._records = context.records
        self._removal = removal
        self._context = context
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._timer = context.loop.call_soon(self._tick)

    def check(self) -> None:
        """Remove the jobs beyond the bounds. The call returns at once."""
        if not self._closed and (self._task is None or self._task.done()):
            self._task = self._context.loop.create_task(self._run())

    def close(self) -> None:
        """Stop the timer and the task. The last job can end after that, so later checks do nothing."""
        self._closed = True
        self._timer.cancel()
        if self._task:
            self._task.cancel()

    def _tick(self) -> None:
        self.check()
        self._timer = self._context.loop.call_later(_CHECK_SECONDS, self._tick)

    async def _run(self) -> None:
        try:
            while not self._records.failing and (due := self._due()):
                began = self._context.loop.time()
                await self._removal.remove(RemovalReason.FORGOTTEN, *due)
                await asyncio.sleep(_pause(self._context.loop.time() - began))
        except OSError as error:
            self._context.on_fault("retention", error)

    def _due(self) -> list[str]:
        """Return the next jobs to remove; empty if all bounds are met."""
        excess = self._records.final_jobs() - self._config.max_jobs
        if excess > 0:
            return self._records.oldest_final(min(excess, _JOBS_PER_STEP))
        if self._config.max_age:
            bound = time.time_ns() - self._config.max_age * _SECOND_NS
            if expired := self._records.oldest_final(_JOBS_PER_STEP, ended_before_ns=bound):
                return expired
        if self._config.max_bytes and self._records.ended_logs.total > self._config.max_bytes:
            oldest = self._records.ended_logs.oldest()
            return [oldest[0]] if oldest else []
        return []


def _pause(step_seconds: float) -> float:
    return min(_PAUSE_PER_STEP * step_seconds, _MAX_PAUSE_SECONDS)
