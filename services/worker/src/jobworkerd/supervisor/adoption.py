"""Continues the jobs of an earlier supervisor of the same server."""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from msgspec.structs import replace

from jobworkerd.model import Job, JobStatus
from jobworkerd.supervisor import job_state
from jobworkerd.supervisor.holder import HeldJob, release_job
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_resources import JobResources
from jobworkerd.supervisor.job_state import JobState
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.stored_jobs import release_when_stored


class Adoption:
    """Takes over each held job: one that runs continues, and one that has ended gets its final record."""

    def __init__(
        self,
        context: JobContext,
        on_change: Callable[[str], None],
        on_live: Callable[[LiveJob], None],
        on_end: Callable[[Job], None],
    ) -> None:
        """`on_live` is called with each job that continues, `on_end` with each job that has ended."""
        self._context = context
        self._on_change = on_change
        self._on_live = on_live
        self._on_end = on_end

    async def adopt(self, held: Mapping[str, HeldJob]) -> list[str]:
        """Take over the jobs and return the ids of those that are not lost.

        Raises:
            OSError: the records cannot be read.
        """
        return [job_id for job_id, entry in held.items() if await self._adopt(job_id, entry)]

    async def _adopt(self, job_id: str, held: HeldJob) -> bool:
        try:
            state = job_state.decode(held.state)
        except msgspec.DecodeError as error:
            held.close()
            self._lose(job_id, error)
            return False
        record = self._context.records.get(job_id)
        if state.job.status.final:
            held.close()
            await self._complete(state, record)
            return True
        # A supervisor releases the command when the record is committed.
        released = record is not None and record.status is not JobStatus.QUEUED
        return await self._continue(state, held, released=released)

    async def _continue(self, state: JobState, held: HeldJob, *, released: bool) -> bool:
        live = LiveJob(state, self._context, self._on_change)
        try:
            live.adopt(held)
        except (OSError, msgspec.DecodeError) as error:
            await live.abandon(keep_log=True)
            self._lose(live.id, error)
            return False
        if released:
            live.continue_start()
            self._on_live(live)
        else:
            await live.abandon()
        return True

    async def _complete(self, state: JobState, record: Job | None) -> None:
        """Release the remaining resources of a final job, and store its record."""
        context, job = self._context, state.job
        await JobResources(job.id, context, lambda: None, lambda _: None).remove_cgroup()
        if record and not record.status.final:
            size = await context.attempt("log", lambda: context.logs.end_abandoned(job.id), failed=0)
            final = replace(job, log_size=max(size, job.log_size))
            await context.records.update(final)
            self._on_end(final)
        elif record:
            # The earlier supervisor was killed at the end of the job, perhaps before it sent the span.
            context.spans.ended(record)
        release_when_stored(context, job.id, partial(release_job, context.holder, job.id))

    def _lose(self, job_id: str, error: Exception) -> None:
        self._context.on_fault("adoption", error)
        release_job(self._context.holder, job_id)
