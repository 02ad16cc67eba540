"""The table of all jobs, and the rules for new jobs. `live_job` starts, stops and ends each job."""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from jobworkerd.config import Config
from jobworkerd.errors import JobNotFound, JobNotRunning, RequestIdReused, ShuttingDown, TooManyJobs
from jobworkerd.job_id import JobIds
from jobworkerd.model import Job, JobSpec, JobStatus, TerminationReason
from jobworkerd.protocol.messages import JobPage, ListJobs, StopJob, UpdateJob
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_entry import JobEntry
from jobworkerd.supervisor.job_events import JobEvents
from jobworkerd.supervisor.listing import Listing
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.outcome import StopRequest

_REFILL_DELAY_SECONDS = 0.003
"""Delay before the pool is refilled, so that refilling does not compete with the CreateJob response."""

_HOST_CHANGE_DELAY_SECONDS = 0.25
"""Changes of the host's mounts that follow one another within this time count as one."""


class _Request(NamedTuple):
    """The first CreateJob request with a request id."""

    spec: JobSpec
    job_id: str
    started: asyncio.Future[Job]


class Jobs:
    """The owner of all jobs. A job is either in `_live` or in `_final`."""

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
        self._events = JobEvents(log)
        self._on_change = on_change
        self._on_forget = on_forget
        self._ids = JobIds()
        self._live: dict[str, JobEntry] = {}
        self._final: dict[str, Job] = {}
        self._listing = Listing(self.get)
        self._requests: dict[tuple[str, str], _Request] = {}
        self._preparing: asyncio.TimerHandle | None = None
        self._reclaiming = False
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
            OSError: the host is exhausted.
        """
        key = (spec.owner, spec.request_id)
        if spec.request_id and key in self._requests:
            return await self._repeat(spec, self._requests[key])
        if self._draining:
            raise ShuttingDown
        if len(self._live) >= self._config.max_jobs:
            raise TooManyJobs(
                f"{self._config.max_jobs} jobs are running, which is the maximum",
                "retry when a job has ended",
            )
        job = Job(id=self._ids.new(), spec=spec, status=JobStatus.INITIALIZING, create_time_ns=time.time_ns())
        started: asyncio.Future[Job] = self._context.loop.create_future()
        if spec.request_id:
            self._requests[key] = _Request(spec, job.id, started)
        try:
            running = await self._launch(job, started)
        except BaseException as error:
            self._requests.pop(key, None)
            started.set_exception(error)
            started.exception()  # marks it as retrieved: no request has to wait for it
            raise
        started.set_result(running)
        return running

    async def _repeat(self, spec: JobSpec, first: _Request) -> Job:
        if spec != first.spec:
            raise RequestIdReused(spec.request_id, first.job_id)
        await asyncio.shield(first.started)
        return self.get(first.job_id)

    async def _launch(self, job: Job, started: asyncio.Future[Job]) -> Job:
        try:
            live = await LiveJob.start(job, self._context, partial(self._add, started), self._on_change)
        except BaseException:
            if self._live.pop(job.id, None):
                self._listing.remove(job.id)
            raise
        running = live.snapshot()
        # Runs after the response has been queued (next loop iteration).
        self._context.loop.call_soon(self._events.started, running)
        self._schedule_refill()
        self._live[job.id].ending = self._context.loop.create_task(self._end(live))
        return running

    def _add(self, started: asyncio.Future[Job], live: LiveJob) -> None:
        self._live[live.id] = JobEntry(live, started)
        self._listing.add(live.id)

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
        del self._live[job.id]
        self._final[job.id] = job
        self._events.ended(job)
        self._on_change(job.id)
        # After the notices of the end: the file system takes long to remove a large log.
        self._context.loop.call_soon(self._forget_oldest)
        return job

    def get(self, job_id: str, *, live_usage: bool = False) -> Job:
        """Return a job in its current state.

        Raises:
            JobNotFound: no job has this id.
        """
        if entry := self._live.get(job_id):
            return entry.live.snapshot(live_usage=live_usage)
        if job := self._final.get(job_id):
            return job
        raise JobNotFound(job_id)

    def progress(self, job_id: str) -> tuple[int, Job | None]:
        """Return the size of a job's log, and the job if it is final."""
        if entry := self._live.get(job_id):
            return entry.live.log_size, None
        job = self._final[job_id]
        return job.log_size, job

    def list(self, request: ListJobs) -> JobPage:
        """Return a page of jobs, newest first."""
        return self._listing.page(request)

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
        updated = self._live[job.id].live.update(request.limits)
        self._events.updated(updated, request.subject, request.limits.changes)
        return updated

    @property
    def live(self) -> Iterable[LiveJob]:
        """The jobs that are not final."""
        return [entry.live for entry in self._live.values()]

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

    def _forget_oldest(self) -> None:
        while len(self._final) > self._config.keep_jobs:
            job = self._final.pop(next(iter(self._final)))
            self._listing.remove(job.id)
            self._on_forget(job.id)
            self._requests.pop((job.spec.owner, job.spec.request_id), None)
            self._context.logs.discard(job.id)
            if not self._reclaiming:
                self._reclaim()

    def _reclaim(self) -> None:
        """Free one piece of a removed log per loop iteration, so that the pipes are read in between."""
        self._reclaiming = self._context.logs.reclaim()
        if self._reclaiming:
            self._context.loop.call_soon(self._reclaim)
