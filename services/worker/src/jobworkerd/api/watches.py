"""Streams the changes of jobs: a snapshot, and then the newest states in the order of the changes."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from jobworker.v1 import job_watch_pb2
from jobworkerd.model import Job, JobStatus
from jobworkerd.protocol import messages
from jobworkerd.protocol.change_log import Change, RemovalReason
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.job_feed import JobFeed
from jobworkerd.protocol.job_filter import matches, matches_with_any_status
from jobworkerd.rpc_server.job_messages import JobMessages
from jobworkerd.rpc_server.requests import WatchRequest
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.rpc_server.streaming.rate_limiter import RateLimiter
from jobworkerd.rpc_server.streaming.watch_call import WatchCall, write_removal

_LIVE = frozenset(status for status in JobStatus if not status.final)

_EARLIER: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        JobStatus.QUEUED: frozenset({JobStatus.INITIALIZING}),  # a job waits again if the host is exhausted
        JobStatus.INITIALIZING: frozenset({JobStatus.QUEUED}),
        JobStatus.RUNNING: frozenset({JobStatus.QUEUED, JobStatus.INITIALIZING}),
    }
)
"""The statuses that a job can have had before. A final job can have had each of the others."""

_REASONS: Mapping[RemovalReason, job_watch_pb2.RemovalReason.ValueType] = MappingProxyType(
    {reason: job_watch_pb2.RemovalReason.Value(f"REMOVAL_REASON_{reason.name}") for reason in RemovalReason}
)


class Watches:
    """Opens watches, which share serialized messages and take turns."""

    def __init__(self, supervisor: SupervisorClient, job_messages: JobMessages) -> None:
        self.supervisor = supervisor
        self.messages = job_messages
        self.rate_limiter = RateLimiter()

    @contextlib.asynccontextmanager
    async def open(self, request: WatchRequest) -> AsyncIterator["Watch"]:
        """Receive the changes of jobs until the context is left."""
        async with self.supervisor.watch_jobs() as feed:
            yield Watch(request, feed, self)


class Watch(WatchCall[Change]):
    """A WatchJobs call of a client of this host."""

    def __init__(self, request: WatchRequest, feed: JobFeed, watches: Watches) -> None:
        super().__init__(request, feed, feed.log, watches.rate_limiter)
        self._feed = feed
        self._watches = watches

    async def _reach(self, revision: int) -> None:
        # Another API process can have sent the cursor before this one receives the change.
        newest = await self._watches.supervisor.get_jobs(())
        if revision > newest.revision:
            await super()._reach(revision)
        await self._feed.reached(revision)

    async def _write_snapshot(self, context: Context) -> None:
        left = self._request.max_final_jobs
        async for page in self._named_jobs(context) if self._ids else self._listed_jobs():
            for job in page.jobs:
                if job.status.final and left is not None:
                    if left == 0:
                        continue
                    left -= 1
                await context.write(self._watches.messages.serialize_change(job, 0))
            # The page can be newer than the feed, and an older change must not follow.
            await self._feed.reached(page.revision)
            await self._write_changes(context)

    async def _named_jobs(self, context: Context) -> AsyncIterator[messages.JobPage]:
        """Yield the jobs that the request names. Write a removal for each one that does not exist."""
        for job_ids in _batches(self._request.ids):
            page = await self._watches.supervisor.get_jobs(job_ids)
            for job_id in sorted(set(job_ids) - {job.id for job in page.jobs}):
                await write_removal(context, job_id, job_watch_pb2.REMOVAL_REASON_NOT_FOUND)
            yield replace(page, jobs=tuple(job for job in page.jobs if matches(self._filters, job)))

    async def _listed_jobs(self) -> AsyncIterator[messages.JobPage]:
        """Yield pages of jobs. When there are enough final jobs, skip the others."""
        request, left = self._filters, self._request.max_final_jobs
        while True:
            if left is not None and left <= 0:
                request = replace(request, statuses=(request.statuses or _LIVE) & _LIVE)
                if not request.statuses:
                    return
            page = await self._watches.supervisor.list_jobs(request)
            yield page
            if not page.next_before:
                return
            request = replace(request, before=page.next_before)
            left = None if left is None else left - sum(job.status.final for job in page.jobs)

    async def _next_changes(self) -> Sequence[Change]:
        return await self._complete(self._feed.log.since(self._revision, messages.MAX_IDS))

    async def _complete(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Return changes with their jobs. The jobs of old changes are not in the log."""
        missing = [each.job_id for each in changes if not each.job and not each.removal and self._names(each)]
        if not missing:
            return changes
        page = await self._watches.supervisor.get_jobs(missing)
        await self._feed.reached(page.revision)
        jobs = {job.id: job for job in page.jobs}
        return [
            change if change.job or change.removal else replace(change, job=jobs.get(change.job_id))
            for change in changes
        ]

    def _names(self, change: Change) -> bool:
        """Return whether the id of a job matches."""
        return change.job_id.startswith(self._filters.id_prefix) and (
            not self._ids or change.job_id in self._ids
        )

    async def _write_change(self, context: Context, change: Change) -> None:
        if not self._names(change):
            return
        job, revision = change.job, change.revision
        if change.removal:
            # Without the job it is unknown whether the client has it.
            if job is None or matches(self._filters, job):
                await write_removal(context, change.job_id, _REASONS[change.removal], revision)
        elif job and matches(self._filters, job):
            await context.write(self._watches.messages.serialize_change(job, revision))
        elif job and self._has_matched(job):
            reason = job_watch_pb2.REMOVAL_REASON_NO_LONGER_MATCHES
            await write_removal(context, job.id, reason, revision)

    def _has_matched(self, job: Job) -> bool:
        """Return whether the job can have matched with an earlier status."""
        can_match = self._filters.statuses & _EARLIER.get(job.status, _LIVE)
        return bool(can_match) and matches_with_any_status(self._filters, job)


def _batches(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(job_ids), messages.MAX_IDS):
        yield job_ids[begin : begin + messages.MAX_IDS]
