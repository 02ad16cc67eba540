"""Removes final jobs with their logs."""

from collections.abc import Callable

from jobworkerd.protocol.change_log import RemovalReason
from jobworkerd.supervisor.job_context import JobContext


class Removal:
    """Deletes the record of a job, and then its log. A start removes logs that have no record."""

    def __init__(self, context: JobContext, on_forget: Callable[[str], None]) -> None:
        """`on_forget` is called with the id of each removed job."""
        self._context = context
        self._on_forget = on_forget
        self._reclaiming = False

    async def remove(self, reason: RemovalReason, *job_ids: str) -> None:
        """Remove final jobs.

        Raises:
            OSError: the disk refused the change, and the jobs remain.
        """
        records, changes = self._context.records, self._context.changes
        last_states = {job_id: records.get(job_id) for job_id in job_ids}
        await records.delete(*job_ids)
        for job_id in job_ids:
            self._on_forget(job_id)
            changes.removed(job_id, reason, last_states[job_id])
            self._context.logs.discard(job_id)
        if not self._reclaiming:
            self._reclaim()

    def _reclaim(self) -> None:
        """Free one piece of a removed log per loop iteration, so that the pipes are read in between."""
        self._reclaiming = self._context.logs.reclaim()
        if self._reclaiming:
            self._context.loop.call_soon(self._reclaim)
