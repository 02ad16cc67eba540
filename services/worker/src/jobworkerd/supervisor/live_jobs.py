"""The live jobs: from the start of their processes until their final record is committed."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from jobworkerd.errors import HostExhausted
from jobworkerd.model import Job, JobSpec
from jobworkerd.protocol.change_log import RemovalReason
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_entry import JobEntry
from jobworkerd.supervisor.job_events import JobEvents
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.preparation import Preparation
from jobworkerd.supervisor.queued_jobs import QueuedJobs
from jobworkerd.supervisor.stored_jobs import release_when_stored


class LiveJobs:
    """The owner of the entries of all live jobs."""

    def __init__(
        self,
        context: JobContext,
        events: JobEvents,
        on_change: Callable[[str], None],
        on_end: Callable[[Job], None],
    ) -> None:
        """`on_change` is called with a job's id when its log grows or its command runs, `on_end` with each
        final job when its record is committed.
        """
        self.entries: dict[str, JobEntry] = {}
        self._context = context
        self._records = context.records
        self._events = events
        self._on_change = on_change
        self._on_end = on_end
        self.preparation = Preparation(context)
        self._continued: set[asyncio.Task[None]] = set()

    def attach(self, queued: QueuedJobs) -> None:
        """Connect to the queue, which starts jobs here."""
        self._queued = queued
        self._admission = queued.admission

    async def launch(
        self, job: Job, started: asyncio.Future[Job], commit: Callable[[Job], Awaitable[None]]
    ) -> Job:
        """Start a job and return it when its command runs. `commit` stores its record before that."""
        start = LiveJob.start(job, self._context, partial(self._add, started), self._on_change, commit)
        with self._context.counters.start(job.trace):
            return await self._follow(job.id, start)

    def _add(self, started: asyncio.Future[Job], live: LiveJob) -> None:
        self.entries[live.id] = JobEntry(live, started)
        self._admission.take(live.snapshot())

    async def commit(self, requested: JobSpec, job: Job) -> None:
        """Store the record of a job that is about to start. `requested` has no defaults of the isolation.

        Raises:
            HostExhausted: the disk refused the record.
        """
        self.entries[job.id].recorded = True
        try:
            request_hash = await self._records.request_hashes.of(requested)
            await self._records.insert(job, request_hash)
        except OSError as error:
            raise HostExhausted(f"the record of the job cannot be stored: {error.strerror}") from error
        self._context.changes.changed(job.id)

    async def _follow(self, job_id: str, start: Awaitable[LiveJob]) -> Job:
        """Wait for the start of a job, and let it run until its end."""
        try:
            live = await start
        except BaseException:
            entry = self.entries.pop(job_id, None)
            if entry and entry.recorded:
                self._records.delete_later(job_id)
                self._context.changes.removed(job_id, RemovalReason.NOT_STARTED)
            self._admission.release(job_id)
            raise
        running = live.snapshot()
        self._records.update_later(running)
        # Runs after the response has been queued (next loop iteration).
        self._context.loop.call_soon(self._events.started, running)
        self.preparation.schedule()
        self._let_end(live)
        return running

    def _let_end(self, live: LiveJob) -> None:
        self.entries[live.id].ending = self._context.loop.create_task(self._end(live))

    def continue_job(self, live: LiveJob) -> None:
        """Continue a job of an earlier supervisor."""
        started: asyncio.Future[Job] = self._context.loop.create_future()
        self._add(started, live)
        if live.is_starting:
            task = self._context.loop.create_task(self._complete_start(live, started))
            self._continued.add(task)
            task.add_done_callback(self._continued.discard)
        else:
            started.set_result(live.snapshot())
            self._let_end(live)

    async def _complete_start(self, live: LiveJob, started: asyncio.Future[Job]) -> None:
        was_queued = live.snapshot().was_queued
        self.entries[live.id].recorded = not was_queued
        try:
            started.set_result(await self._follow(live.id, live.resume()))
        except Exception as error:  # noqa: BLE001 - a job must get an end after a bug, too
            if was_queued:
                await self._queued.end_failed(live.id, error)
            started.set_exception(error)
            started.exception()  # marks it as retrieved: no request has to wait for it

    async def _end(self, live: LiveJob) -> Job:
        job = await live.end()
        self.entries[job.id].final = job
        await self._records.update(job)
        del self.entries[job.id]
        self._on_end(job)
        self._admission.release(job.id)
        release_when_stored(self._context, job.id, live.release_state)
        return job
