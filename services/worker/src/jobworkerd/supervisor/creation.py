"""Adds new jobs: each gets an id, and starts at once or waits in the queue."""

import asyncio
import time
from functools import partial

from jobworkerd.config import Config
from jobworkerd.create_rate import CreateRate
from jobworkerd.errors import CommandNotStarted, ShuttingDown
from jobworkerd.job_id import JobIds, key_of, time_of
from jobworkerd.model import Job, JobSpec, JobStatus
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_events import JobEvents
from jobworkerd.supervisor.live_jobs import LiveJobs
from jobworkerd.supervisor.queued_jobs import QueuedJobs
from jobworkerd.supervisor.request_ids import RequestIds
from jobworkerd.trace_context import JobTrace, TraceContext


class Creation:
    """The rules for new jobs."""

    def __init__(
        self,
        config: Config,
        context: JobContext,
        live_jobs: LiveJobs,
        queued: QueuedJobs,
        events: JobEvents,
    ) -> None:
        self._context = context
        self._records = context.records
        self._live_jobs = live_jobs
        self._queued = queued
        self._admission = queued.admission
        self._events = events
        self._ids = JobIds(context.records.newest_key())
        self._request_ids = RequestIds(context.records)
        self._create_rate = CreateRate(
            config.quota.admin.create_rate, config.max_create_rate, context.loop.time
        )
        self._is_closed = False

    def close(self) -> None:
        """Refuse new jobs from now on."""
        self._is_closed = True

    async def first(self, spec: JobSpec) -> str:
        """Count a call to create a job, and return the id of the job that an earlier call with the same
        request id has created; empty if none has.

        Raises:
            QuotaExceeded: the owner makes too many calls.
            ServerBusy: all clients together make too many calls.
            RequestIdReused: the owner used the request id for a different request.
        """
        self._create_rate.take(spec.owner)
        return await self._request_ids.first(spec)

    async def start(self, spec: JobSpec, trace: TraceContext | None) -> Job:
        """Start a job and return it when its command runs, or let it wait and return it with its position.

        Raises:
            QuotaExceeded: the owner has too many jobs.
            ShuttingDown: the server shuts down.
            TooManyJobs: there is no room for the job and it does not wait, or the queue is full.
            LimitUnavailable: the policy is strict and a limit cannot be enforced.
            CommandNotStarted: the command cannot be executed.
            HostExhausted: the record cannot be stored.
            OSError: the host is exhausted.
        """
        if self._is_closed:
            raise ShuttingDown
        return await self._start(self._new_job(spec, trace))

    async def start_with_id(self, job_id: str, spec: JobSpec, trace: TraceContext | None) -> Job:
        """Start a job of the cluster, which has an id already. No job with this id exists.

        Raises:
            RequestIdReused: the owner used the request id for another job.
            ShuttingDown: the server shuts down.
            TooManyJobs, LimitUnavailable, CommandNotStarted, HostExhausted, OSError: as in `start`.
        """
        self._request_ids.check_unused(spec)
        self._check_key(job_id)
        if self._is_closed:
            raise ShuttingDown
        self._admission.require_room(spec)
        self._ids.reserve(job_id)
        created_ns, job_trace = time_of(job_id), JobTrace.below(trace)
        status = JobStatus.INITIALIZING
        return await self._start(
            Job(id=job_id, spec=spec, status=status, create_time_ns=created_ns, trace=job_trace)
        )

    def _check_key(self, job_id: str) -> None:
        """Check that no other job has the key of a job, which is its key in the database, too.

        Raises:
            CommandNotStarted: one has.
        """
        key = key_of(job_id)
        other = next(
            (each for each in self._live_jobs.entries if key_of(each) == key), ""
        ) or self._records.id_at(key)
        if other:
            why = f"job {other} of this host was created at the same time; create another job"
            raise CommandNotStarted("id", "EEXIST", why)

    async def _start(self, job: Job) -> Job:
        spec = job.spec
        started: asyncio.Future[Job] = self._context.loop.create_future()
        with self._request_ids.starting(spec, job.id, started):
            try:
                created = await self._create(job, started)
            except BaseException as error:
                started.set_exception(error)
                started.exception()  # marks it as retrieved: no request has to wait for it
                raise
            started.set_result(created)
        return created

    def _new_job(self, spec: JobSpec, trace: TraceContext | None) -> Job:
        """Return a job that starts, or waits if there is no room for it.

        Raises:
            TooManyJobs: there is no room for it, and it does not wait.
        """
        waits = self._admission.must_wait(spec)
        status = JobStatus.QUEUED if waits else JobStatus.INITIALIZING
        now = time.time_ns()
        job_id, job_trace = self._ids.new(now), JobTrace.below(trace)
        return Job(id=job_id, spec=spec, status=status, create_time_ns=now, was_queued=waits, trace=job_trace)

    async def _create(self, job: Job, started: asyncio.Future[Job]) -> Job:
        if job.status is not JobStatus.QUEUED:
            commit = partial(self._live_jobs.commit, job.spec)
            return await self._live_jobs.launch(job, started, commit)
        queued = await self._queued.add(job)
        self._context.changes.changed(job.id)
        self._events.queued(queued)
        return queued
