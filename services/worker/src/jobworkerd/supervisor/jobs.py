"""The table of all jobs. `creation` adds new ones, and `live_job` starts, stops and ends each of them."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

from jobworkerd.config import Config
from jobworkerd.errors import HostExhausted, JobNotFinal, JobNotFound, JobNotRunning
from jobworkerd.job_id import is_job_id
from jobworkerd.model import Job, JobSpec, JobStatus, TerminationReason
from jobworkerd.protocol.change_log import RemovalReason
from jobworkerd.protocol.job_changes import JobChanges
from jobworkerd.protocol.messages import DeleteJob, JobPage, ListJobs, Progress, StopJob, UpdateJob
from jobworkerd.supervisor.adoption import Adoption
from jobworkerd.supervisor.creation import Creation
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
from jobworkerd.supervisor.retention import Retention
from jobworkerd.trace_context import TraceContext


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

        self._context = context
        self._records = context.records
        self._events = JobEvents(log)
        self._on_change = changed
        self._removal = Removal(context, on_forget)
        self._retention = Retention(config.retention, self._removal, context)
        self._live_jobs = LiveJobs(context, self._events, changed, self._ended)
        self._live = self._live_jobs.entries
        self.queued = QueuedJobs(config, context, self._live_jobs.launch, self._ended)
        self._live_jobs.attach(self.queued)
        self._admission = self.queued.admission
        self.preparation = self._live_jobs.preparation
        self.creation = Creation(config, context, self._live_jobs, self.queued, self._events)
        self.inputs = JobInputs(self.get, lambda job_id: self._live[job_id].live, self._events)

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
            JobWorkerError, OSError: as in `Creation.first` and `Creation.start`.
        """
        if first := await self.creation.first(spec):
            return self.get(first)
        return await self.creation.start(spec, trace)

    async def started(self, job_id: str) -> Job:
        """Return a job in its current state, but not before its command runs.

        Raises:
            JobNotFound: no job has this id.
            JobWorkerError, OSError: the start of the job failed.
        """
        if (entry := self._live.get(job_id)) and not entry.started.done():
            await asyncio.shield(entry.started)
        return self.get(job_id)

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
        self.creation.close()
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
