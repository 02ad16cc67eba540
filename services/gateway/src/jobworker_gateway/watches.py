"""Streams the changes of jobs: a snapshot, and then the newest states in the order of the changes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from jobworker.v1 import job_pb2, job_watch_pb2
from jobworker_cluster.records import is_final
from jobworker_gateway.change_feed import Change, ChangeFeed
from jobworker_gateway.job_filter import matches, matches_with_any_status
from jobworker_gateway.jobs import Jobs
from jobworker_gateway.listing import read_page
from jobworkerd.errors import JobNotFound
from jobworkerd.model import JobStatus
from jobworkerd.rpc_server.convert import STATUSES
from jobworkerd.rpc_server.requests import WatchRequest
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.rpc_server.streaming.rate_limiter import RateLimiter
from jobworkerd.rpc_server.streaming.watch_call import WatchCall, write_message, write_removal

_CHANGES = 50
"""Changes that are written before newer ones are looked for."""

_LIVE = frozenset(status for status in JobStatus if not status.final)

_EARLIER: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        # With `retry_on_lost`, a running job can be queued again.
        JobStatus.QUEUED: _LIVE - {JobStatus.QUEUED},
        JobStatus.INITIALIZING: _LIVE - {JobStatus.INITIALIZING},
        JobStatus.RUNNING: _LIVE - {JobStatus.RUNNING},
    }
)
"""The statuses that a job can have had before. A final job can have had each of the others."""


class Watch(WatchCall[Change]):
    """A WatchJobs call of a client of the cluster."""

    def __init__(self, request: WatchRequest, jobs: Jobs, feed: ChangeFeed, turns: RateLimiter) -> None:
        super().__init__(request, feed, feed, turns)
        self._jobs = jobs
        self._feed = feed
        self._ended: set[str] = set()
        """Jobs that the snapshot had as final, while the table had an older state."""

    async def _write_snapshot(self, context: Context) -> None:
        left = self._request.max_final_jobs
        async for page in self._named_jobs(context) if self._ids else self._listed_jobs():
            for job in page:
                if is_final(job):
                    if left == 0:
                        continue
                    left = None if left is None else left - 1
                    self._note_end(job)
                await write_message(context, changed=job_watch_pb2.JobChange(job=job))
            await self._write_changes(context)

    def _note_end(self, job: job_pb2.Job) -> None:
        live = self._jobs.engine.jobs.get(job.id)
        if live and not live.final:
            self._ended.add(job.id)

    async def _named_jobs(self, context: Context) -> AsyncIterator[Sequence[job_pb2.Job]]:
        """Yield the jobs that the request names. Write a removal for each one that does not exist."""
        for job_id in sorted(self._request.ids, reverse=True):
            try:
                job = self._jobs.shown(await self._jobs.get(job_id))
            except JobNotFound:
                await write_removal(context, job_id, job_watch_pb2.REMOVAL_REASON_NOT_FOUND)
            else:
                yield (job,) if matches(self._filters, job) else ()

    async def _listed_jobs(self) -> AsyncIterator[Sequence[job_pb2.Job]]:
        """Yield pages of jobs. When there are enough final jobs, skip the others."""
        request, left = self._filters, self._request.max_final_jobs
        while True:
            if left is not None and left <= 0:
                request = replace(request, statuses=(request.statuses or _LIVE) & _LIVE)
                if not request.statuses:
                    return
            page = await read_page(self._jobs, request)
            yield page.jobs
            if not page.next_before:
                return
            request = replace(request, before=page.next_before)
            left = None if left is None else left - sum(is_final(job) for job in page.jobs)

    async def _next_changes(self) -> Sequence[Change]:
        return self._feed.since(self._revision, _CHANGES)

    async def _write_change(self, context: Context, change: Change) -> None:
        job, revision = change.job, change.revision
        if self._ids and job.id not in self._ids:
            return
        if change.removal:
            if matches(self._filters, job) or job.id in self._ended:
                await write_removal(context, job.id, change.removal, revision)
        elif self._is_outdated(job):
            return
        elif matches(self._filters, job):
            await write_message(context, changed=job_watch_pb2.JobChange(job=job, revision=revision))
        elif self._has_matched(job):
            reason = job_watch_pb2.REMOVAL_REASON_NO_LONGER_MATCHES
            await write_removal(context, job.id, reason, revision)

    def _is_outdated(self, job: job_pb2.Job) -> bool:
        """Return whether the snapshot had a newer state of a job."""
        if job.id not in self._ended:
            return False
        if is_final(job):
            self._ended.discard(job.id)
            return False
        return True

    def _has_matched(self, job: job_pb2.Job) -> bool:
        """Return whether the job can have matched with an earlier status."""
        can_match = self._filters.statuses & _EARLIER.get(STATUSES[job.status], _LIVE)
        return bool(can_match) and matches_with_any_status(self._filters, job)
