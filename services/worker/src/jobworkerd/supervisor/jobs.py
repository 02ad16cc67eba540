"""The table of all jobs, and the rules for new jobs. `live_job` starts, stops and ends each job."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from jobworkerd.config import Config
from jobworkerd.create_rate import CreateRate
from jobworkerd.errors import (
    CommandNotStarted,
    HostExhausted,
    JobNotFinal,
    JobNotFound,
    JobNotRunning,
    ShuttingDown,
)
from jobworkerd.job_id import JobIds, is_job_id, key_of, time_of
from jobworkerd.model import Job, JobSpec, JobStatus, TerminationReason
from jobworkerd.protocol.change_log import RemovalReason
from jobworkerd.protocol.job_changes import JobChanges
from jobworkerd.protocol.messages import DeleteJob, JobPage, ListJobs, Progress, StopJob, UpdateJob
from jobworkerd.supervisor.adoption import Adoption
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.holder import HeldJob
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_entry import JobEntry
from jobworkerd.supervisor.job_events import JobEvents
from jobworkerd.supervisor.job_inputs import JobInputs
from jobworkerd.supervisor.job_spans import JobSpans
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.live_jobs import LiveJobs
from jobworkerd.supervisor.outcome import StopRequest
from jobworkerd.supervisor.queued_jobs import QueuedJobs
from jobworkerd.supervisor.removal import Removal
from jobworkerd.supervisor.request_ids import RequestIds
from jobworkerd.supervisor.retention import Retention
from jobworkerd.trace_context import JobTrace, TraceContext


class Jobs:
    """The owner of all jobs. A job is in `_queued`, in `_live`, or final and only in `_records`."""

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

        def changed(job_id: str) -> None:
            self.inputs.job_changed(job_id)
            on_change(job_id)

        self._config = config
        self._context = context
        self._records = records = context.records
        self._events = JobEvents(log)
        self._on_change = changed
        self._removal = Removal(context, on_forget)
        self._retention = Retention(config.retention, self._removal, context)
        self._ids = JobIds(records.newest_key())
        self._live_jobs = LiveJobs(context, self._events, changed, self._ended)
        self._live = self._live_jobs.entries
        self.queued = QueuedJobs(config, context, self._live_jobs.launch, self._ended)
        self._live_jobs.attach(self.queued)
        self._admission = self.queued.admission
        self.preparation = self._live_jobs.preparation
        self._request_ids = RequestIds(records)
        self._create_rate = CreateRate(
            config.quota.admin.create_rate, config.max_create_rate, context.loop.time
        )
        self.inputs = JobInputs(self.get, lambda job_id: self._live[job_id].live, self._events)
        self._draining = False

    async def adopt(self, held: Mapping[str, HeldJob]) -> list[str]:
        """Continue the jobs of an earlier supervisor, and return the ids of those that are not lost.

        Raises:
            OSError: the records cannot be read.
        """
        adoption = Adoption(self._context, self._on_change, self._live_jobs.continue_job, self._ended)
        return await adoption.adopt(held)

    async def start(self, spec: JobSpec, trace: TraceContext | None = None) -> Job:
        """Start a job and return it when its command runs, or let it wait and return it with its position.

        A repeated request id of the same owner returns the first job in its current state.

        Raises:
            QuotaExceeded: the owner makes too many calls, or has too many jobs.
            ServerBusy: all clients together make too many calls.
            RequestIdReused: the owner used the request id for a different request.
            ShuttingDown: the server shuts down.
            TooManyJobs: there is no room for the job and it does not wait, or the queue is full.
            LimitUnavailable: the policy is strict and a limit cannot be enforced.
            CommandNotStarted: the command cannot be executed.
            HostExhausted: the record cannot be stored.
            OSError: the host is exhausted.
        """
        self._create_rate.take(spec.owner)
        if first := await self._request_ids.first(spec):
            return self.get(first)
        if self._draining:
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
        if self._draining:
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
        other = next((each for each in self._live if key_of(each) == key), "") or self._records.id_at(key)
        if other:
            why = f"job {other} of this host was created at the same time; create another job"
            raise CommandNotStarted("id", "EEXIST", why)

    async def started(self, job_id: str) -> Job:
        """Return a job in its current state, but not before its command runs.

        Raises:
            JobNotFound: no job has this id.
            JobWorkerError, OSError: the start of the job failed.
        """
        if (entry := self._live.get(job_id)) and not entry.started.done():
            await asyncio.shield(entry.started)
        return self.get(job_id)

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
        queued = await self.queued.add(job)
        self.changes.changed(job.id)
        self._events.queued(queued)
        return queued

    def _ended(self, job: Job) -> None:
        """Publish a final job, whose record is committed."""
        self._events.ended(job)
        self._context.counters.ended(job)
        self._context.spans.ended(job)
        self.changes.changed(job.id)
        self._on_change(job.id)
        # After the notices of the end: the file system takes long to remove a large log.
        self._context.loop.call_soon(self._retention.check)

    def get(self, job_id: str, *, live_usage: bool = False) -> Job:
        """Return a job in its current state.

        Raises:
            JobNotFound: no job has this id.
            OSError: the records cannot be read.
        """
        if entry := self._live.get(job_id):
            return entry.live.snapshot(live_usage=live_usage and entry.final is None)
        if is_job_id(job_id) and (job := self.queued.find(job_id) or self._records.get(job_id)):
            return job
        raise JobNotFound(job_id)

    def progress(self, job_id: str) -> Progress:
        """Return the notice of the current state of a job."""
        if entry := self._live.get(job_id):
            return Progress(job_id, entry.live.log_size, resize=entry.live.last_resize)
        job = self.get(job_id)
        return Progress(job_id, job.log_size, job if job.status.final else None)

    def list(self, request: ListJobs) -> JobPage:
        """Return a page of jobs, newest first.

        Raises:
            OSError: the records cannot be read.
        """
        page = self._records.page(request)
        jobs = (
            self.get(job.id, live_usage=request.live_usage) if self._is_changing(job.id) else job
            for job in page.jobs
        )
        # The record of a job can be newer: its end is stored before it is published.
        wanted = (job for job in jobs if not request.statuses or job.status in request.statuses)
        jobs_now = tuple(self._admission.annotate(wanted))
        return JobPage(jobs_now, page.next_before, self.changes.log.revision)

    def find(self, job_ids: Iterable[str]) -> JobPage:
        """Return those jobs that exist.

        Raises:
            OSError: the records cannot be read.
        """
        found: list[Job] = []
        for job_id in job_ids:
            with suppress(JobNotFound):
                found.append(self.get(job_id))
        return JobPage(tuple(found), revision=self.changes.log.revision)

    def _is_changing(self, job_id: str) -> bool:
        """Return whether the record of a job can be older or newer than its state."""
        return job_id in self._live or self.queued.is_changing(job_id)

    async def stop(self, request: StopJob) -> Job:
        """Stop a job and return the final job; return a final job unchanged.

        Raises:
            JobNotFound: no job has this id, or the job was starting and its start failed.
        """
        stop = StopRequest(TerminationReason.STOPPED, request.subject)
        while not (job := self.get(request.job_id)).status.final:
            if entry := self._live.get(job.id):
                grace = job.spec.stop_grace_period if request.grace_period is None else request.grace_period
                self._events.stop_requested(job, request.subject, grace)
                await self._stop_live(entry, stop, grace)
            else:
                await self.queued.stop(job, request.subject)
        return job

    async def evict(self, job_id: str, message: str, by: str) -> Job:
        """Stop a job of the cluster with its grace period; return the final job.

        Raises:
            JobNotFound: no job of the cluster has this id, or its start failed.
        """
        stop = StopRequest(TerminationReason.EVICTED, message=message)
        while (job := self.get(job_id)).spec.node:
            if job.status.final:
                return job
            entry, grace = self._live[job.id], job.spec.stop_grace_period
            self._events.stop_requested(job, by, grace)
            await self._stop_live(entry, stop, grace)
        raise JobNotFound(job_id)

    def kill_fenced(self, message: str) -> Sequence[str]:
        """Kill the jobs that end with the lease of the host, and return their ids."""
        fenced = [live for live in self.live if live.snapshot().spec.fenced]
        for live in fenced:
            live.stop(StopRequest(TerminationReason.EVICTED, message=message), 0)
        return [live.id for live in fenced]

    async def _stop_live(self, entry: JobEntry, request: StopRequest, grace: float) -> None:
        """Stop a job that has started, or wait until its start has failed."""
        if entry.final is None:
            entry.live.stop(request, grace)
        if not entry.started.done():
            await asyncio.wait([entry.started])
        if entry.ending:
            await asyncio.shield(entry.ending)

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
        self._admission.change_limits(updated)
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
            await self._removal.remove(RemovalReason.DELETED, job.id)
        except OSError as error:
            raise HostExhausted(f"the job cannot be deleted: {error.strerror}") from error
        self._events.deleted(job, request.subject)

    @property
    def live(self) -> Iterable[LiveJob]:
        """The jobs that have processes, or are about to start."""
        return [entry.live for entry in self._live.values() if entry.final is None]

    @property
    def live_ids(self) -> Collection[str]:
        """The ids of the jobs that start or run."""
        return self._live.keys()

    @property
    def pids(self) -> Sequence[int]:
        """The processes that live jobs need, except those that their main processes have started."""
        return [pid for live in self.live for pid in live.pids]

    async def shut_down(self, max_grace_period: float) -> None:
        """Reject new jobs, stop all live jobs and return when all are final. Queued jobs stay queued.

        Each job has its own grace period, but at most `max_grace_period` (seconds).
        """
        self._draining = True
        self.queued.close()
        request = StopRequest(TerminationReason.STOPPED)
        while self._live:
            for live in self.live:
                live.stop(request, min(live.snapshot().spec.stop_grace_period, max_grace_period))
            await asyncio.wait([entry.next_event for entry in self._live.values()])

    @property
    def changes(self) -> JobChanges:
        """The numbered changes of all jobs."""
        return self._context.changes

    @property
    def spans(self) -> JobSpans:
        """The spans of final jobs."""
        return self._context.spans

    def kill_all(self) -> None:
        """Kill all jobs without a grace period, so that `shut_down` returns soon."""
        for live in self.live:
            live.stop(StopRequest(TerminationReason.STOPPED), 0)

    def kill_process_groups(self) -> None:
        """Kill all jobs at once, because their parent has died. No job gets a final status."""
        for live in self.live:
            live.kill_process_group()

    def close(self) -> None:
        """Stop the background work."""
        self.preparation.close()
        self._retention.close()
