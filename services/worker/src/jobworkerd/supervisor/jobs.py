"""The table of all jobs, and the rules for new jobs. `live_job` starts, stops and ends each job."""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial

from jobworkerd.config import Config
from jobworkerd.errors import (
    HostExhausted,
    JobNotFinal,
    JobNotFound,
    JobNotRunning,
    ShuttingDown,
    TooManyJobs,
)
from jobworkerd.job_id import JobIds
from jobworkerd.model import Job, JobSpec, JobStatus, TerminationReason
from jobworkerd.protocol.messages import DeleteJob, JobPage, ListJobs, StopJob, UpdateJob
from jobworkerd.records.encoding import request_hash
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_entry import JobEntry
from jobworkerd.supervisor.job_events import JobEvents
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.outcome import StopRequest
from jobworkerd.supervisor.removal import Removal
from jobworkerd.supervisor.request_ids import RequestIds
from jobworkerd.supervisor.retention import Retention

_REFILL_DELAY_SECONDS = 0.003
"""Delay before the pool is refilled, so that refilling does not compete with the CreateJob response."""

_HOST_CHANGE_DELAY_SECONDS = 0.25
"""Changes of the host's mounts that follow one another within this time count as one."""


class Jobs:
    """The owner of all jobs. A job is either in `_live`, or final and only in `_records`."""

    def __init__(
        self,
        config: Config,
        context: JobContext,
        log: EventLog,
        on_change: Callable[[str], None],
        on_forget: Callable[[str], None],
    ) -> None:
        """`on_change` is called with a job's id when its log grows or its status changes, `on_forget` when a
        final job is removed.
        """
        self._config = config
        self._context = context
        self._records = records = context.records
        self._events = JobEvents(log)
        self._on_change = on_change
        self._removal = Removal(context, on_forget)
        self._retention = Retention(config.retention, self._removal, context)
        self._ids = JobIds(records.newest_key())
        self._live: dict[str, JobEntry] = {}
        self._request_ids = RequestIds(records)
        self._preparing: asyncio.TimerHandle | None = None
        self._draining = False

    async def start(self, spec: JobSpec) -> Job:
        """Start a job and return it when its command runs.

        A repeated request id of the same owner returns the first job in its current state.

        Raises:
            RequestIdReused: the owner used the request id for a different request.
            ShuttingDown: the server shuts down.
            TooManyJobs: `max_jobs` jobs are live.
            LimitUnavailable: the policy is strict and a limit cannot be enforced.
            CommandNotStarted: the command cannot be executed.
            HostExhausted: the record cannot be stored.
            OSError: the host is exhausted.
        """
        if first := await self._request_ids.first(spec):
            return self.get(first)
        if self._draining:
            raise ShuttingDown
        if len(self._live) >= self._config.max_jobs:
            raise TooManyJobs(
                f"{self._config.max_jobs} jobs are running, which is the maximum",
                "retry when a job has ended",
            )
        now = time.time_ns()
        job = Job(id=self._ids.new(now), spec=spec, status=JobStatus.INITIALIZING, create_time_ns=now)
        started: asyncio.Future[Job] = self._context.loop.create_future()
        with self._request_ids.starting(spec, job.id, started):
            try:
                running = await self._launch(job, started)
            except BaseException as error:
                started.set_exception(error)
                started.exception()  # marks it as retrieved: no request has to wait for it
                raise
            started.set_result(running)
        return running

    async def _launch(self, job: Job, started: asyncio.Future[Job]) -> Job:
        try:
            live = await LiveJob.start(
                job,
                self._context,
                partial(self._add, started),
                self._on_change,
                partial(self._commit, job.spec),
            )
        except BaseException:
            entry = self._live.pop(job.id, None)
            if entry and entry.recorded:
                self._records.delete_later(job.id)
            raise
        running = live.snapshot()
        self._records.update_later(running)
        # Runs after the response has been queued (next loop iteration).
        self._context.loop.call_soon(self._events.started, running)
        self._schedule_refill()
        self._live[job.id].ending = self._context.loop.create_task(self._end(live))
        return running

    def _add(self, started: asyncio.Future[Job], live: LiveJob) -> None:
        self._live[live.id] = JobEntry(live, started)

    async def _commit(self, requested: JobSpec, job: Job) -> None:
        """Store the record of a job that is about to start. `requested` has no defaults of the isolation."""
        self._live[job.id].recorded = True
        try:
            await self._records.insert(job, request_hash(requested) if requested.request_id else b"")
        except OSError as error:
            raise HostExhausted(f"the record of the job cannot be stored: {error.strerror}") from error

    def _schedule_refill(self) -> None:
        """Postpone the refill as long as spare processes are left."""
        if self._preparing:
            if not self._context.spare_pool.size:
                return
            self._preparing.cancel()
        self._preparing = self._context.loop.call_later(_REFILL_DELAY_SECONDS, self.prepare)

    def host_changed(self) -> None:
        """Discard the spare processes, which have an old view of the host, and replace them later."""
        self._context.spare_pool.drop()
        if self._preparing:
            self._preparing.cancel()
        self._preparing = self._context.loop.call_later(_HOST_CHANGE_DELAY_SECONDS, self.prepare)

    def prepare(self) -> None:
        """Prepare spare processes and a log file for the next jobs."""
        self._preparing = None
        self._context.spare_pool.refill()
        self._context.logs.prepare()

    async def _end(self, live: LiveJob) -> Job:
        job = await live.end()
        self._live[job.id].final = job
        await self._records.update(job)
        del self._live[job.id]
        self._events.ended(job)
        self._on_change(job.id)
        # After the notices of the end: the file system takes long to remove a large log.
        self._context.loop.call_soon(self._retention.check)
        return job

    def get(self, job_id: str, *, live_usage: bool = False) -> Job:
        """Return a job in its current state.

        Raises:
            JobNotFound: no job has this id.
            OSError: the records cannot be read.
        """
        if entry := self._live.get(job_id):
            return entry.live.snapshot(live_usage=live_usage and entry.final is None)
        if job := self._records.get(job_id):
            return job
        raise JobNotFound(job_id)

    def progress(self, job_id: str) -> tuple[int, Job | None]:
        """Return the size of a job's log, and the job if it is final."""
        if entry := self._live.get(job_id):
            return entry.live.log_size, None
        job = self.get(job_id)
        return job.log_size, job

    def list(self, request: ListJobs) -> JobPage:
        """Return a page of jobs, newest first.

        Raises:
            OSError: the records cannot be read.
        """
        page = self._records.page(request)
        jobs = (
            self.get(job.id, live_usage=request.live_usage) if job.id in self._live else job
            for job in page.jobs
        )
        return JobPage(tuple(jobs), page.next_before)

    async def stop(self, request: StopJob) -> Job:
        """Stop a job and return the final job; return a final job unchanged.

        Raises:
            JobNotFound: no job has this id, or the job was starting and its start failed.
        """
        job = self.get(request.job_id)
        if job.status.final:
            return job
        entry = self._live[job.id]
        grace = job.spec.stop_grace_period if request.grace_period is None else request.grace_period
        self._events.stop_requested(job, request.subject, grace)
        if entry.final is None:
            entry.live.stop(StopRequest(TerminationReason.STOPPED, request.subject), grace)
        if not entry.started.done():
            await asyncio.wait([entry.started])
        if entry.ending:
            return await asyncio.shield(entry.ending)
        return self.get(job.id)

    def update(self, request: UpdateJob) -> Job:
        """Change limits of a running job and return it.

        Raises:
            JobNotFound: no job has this id.
            JobNotRunning: the job has ended, or is still starting.
            LimitUnavailable: the policy is strict and a limit cannot be enforced. No limit has changed.
        """
        job = self.get(request.job_id)
        if job.status is not JobStatus.RUNNING:
            raise JobNotRunning(job.id, job.status.value)
        entry = self._live[job.id]
        if entry.final:
            raise JobNotRunning(job.id, entry.final.status.value)
        updated = entry.live.update(request.limits)
        self._records.update_later(updated)
        self._events.updated(updated, request.subject, request.limits.changes)
        return updated

    async def delete(self, request: DeleteJob) -> None:
        """Delete the record and the log of a final job.

        Raises:
            JobNotFound: no job has this id.
            JobNotFinal: the job has not ended.
            HostExhausted: the disk refused the change, and the job remains.
        """
        job = self.get(request.job_id)
        if not job.status.final or job.id in self._live:
            raise JobNotFinal(job.id, job.status.value)
        try:
            await self._removal.remove(job.id)
        except OSError as error:
            raise HostExhausted(f"the job cannot be deleted: {error.strerror}") from error
        self._events.deleted(job, request.subject)

    @property
    def live(self) -> Iterable[LiveJob]:
        """The jobs that have processes, or are about to start."""
        return [entry.live for entry in self._live.values() if entry.final is None]

    @property
    def live_ids(self) -> tuple[str, ...]:
        """The ids of the jobs that are not final."""
        return tuple(self._live)

    async def shut_down(self, max_grace_period: float) -> None:
        """Reject new jobs, stop all live jobs and return when all are final.

        Each job has its own grace period, but at most `max_grace_period` (seconds).
        """
        self._draining = True
        request = StopRequest(TerminationReason.STOPPED)
        while self._live:
            for live in self.live:
                live.stop(request, min(live.snapshot().spec.stop_grace_period, max_grace_period))
            await asyncio.wait([entry.next_event for entry in self._live.values()])

    def kill_all(self) -> None:
        """Kill all jobs without a grace period, so that `shut_down` returns soon."""
        for live in self.live:
            live.stop(StopRequest(TerminationReason.STOPPED), 0)

    def close(self) -> None:
        """Stop the background work."""
        if self._preparing:
            self._preparing.cancel()
        self._retention.close()
