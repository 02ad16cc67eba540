"""Streams the changes of jobs: a snapshot, and then the newest states in the order of the changes."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from jobworker.v1 import job_pb2, job_watch_pb2
from jobworker_gateway.change_feed import Change, ChangeFeed
from jobworker_gateway.job_filter import matches, matches_with_any_status
from jobworker_gateway.job_table import FINAL
from jobworker_gateway.jobs import Jobs
from jobworker_gateway.listing import read_page
from jobworkerd.errors import JobNotFound
from jobworkerd.model import JobStatus
from jobworkerd.rpc_server import watch_cursor
from jobworkerd.rpc_server.convert import STATUSES
from jobworkerd.rpc_server.requests import WatchRequest
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.rpc_server.streaming.rate_limiter import RateLimiter
from jobworkerd.rpc_server.watch_cursor import UnusableCursor

BOOKMARK_SECONDS = 30.0
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


class Watch:
    """A WatchJobs call. It is a cursor in the feed and has no queue, however slow its client is."""

    def __init__(self, request: WatchRequest, jobs: Jobs, feed: ChangeFeed, turns: RateLimiter) -> None:
        self._request = request
        self._filters = request.first_page
        self._ids = frozenset(request.ids)
        self._jobs = jobs
        self._feed = feed
        self._turns = turns
        self._revision = 0
        self._next_bookmark = 0.0
        self._ended: set[str] = set()
        """Jobs that the snapshot had as final, while the table had an older state."""

    async def write(self, context: Context) -> None:
        """Write messages until the call ends.

        Raises:
            ClusterUnavailable: the archive does not answer.
        """
        is_new = not self._request.cursor
        while True:
            try:
                await self._begin(context, is_new=is_new)
                await self._follow(context)
            except UnusableCursor as error:
                await _write(context, reset=job_watch_pb2.WatchReset(reason=str(error)))
                is_new = True

    async def _begin(self, context: Context, *, is_new: bool) -> None:
        """Write a snapshot, or the changes after the cursor."""
        if is_new:
            self._revision = self._feed.revision
            await self._write_snapshot(context)
        else:
            request = self._request
            self._revision = watch_cursor.revision_of(request.cursor, self._feed.epoch, request.fingerprint)
            if self._revision > self._feed.revision:
                raise UnusableCursor("the cursor is not from this server")
            await self._write_changes(context)

    async def _follow(self, context: Context) -> None:
        """Write changes and bookmarks without an end."""
        while True:
            await self._write_bookmark(context)
            while await self._changed():
                await self._write_changes(context)

    async def _changed(self) -> bool:
        """Wait for a change and for a turn. Return False when a bookmark is due."""
        try:
            async with asyncio.timeout_at(self._next_bookmark):
                await self._feed.reached(self._revision + 1)
                await self._turns.wait()
        except TimeoutError:
            return False
        return True

    async def _write_bookmark(self, context: Context) -> None:
        cursor = watch_cursor.make(self._feed.epoch, self._revision, self._request.fingerprint)
        await _write(context, bookmark=job_watch_pb2.WatchBookmark(cursor=cursor))
        self._next_bookmark = asyncio.get_running_loop().time() + BOOKMARK_SECONDS

    async def _write_snapshot(self, context: Context) -> None:
        """Write the jobs that match, and changes after each page, so that a long snapshot cannot miss one."""
        left = self._request.max_final_jobs
        async for page in self._named_jobs(context) if self._ids else self._listed_jobs():
            for job in page:
                if job.status in FINAL:
                    if left == 0:
                        continue
                    left = None if left is None else left - 1
                    self._note_end(job)
                await _write(context, changed=job_watch_pb2.JobChange(job=job))
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
                await _write_removal(context, job_id, job_watch_pb2.REMOVAL_REASON_NOT_FOUND)
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
            left = None if left is None else left - sum(job.status in FINAL for job in page.jobs)

    async def _write_changes(self, context: Context) -> None:
        """Write the changes up to now.

        Raises:
            UnusableCursor: the client is so slow that the feed has no longer all changes.
        """
        feed = self._feed
        end = feed.revision
        while self._revision < end:
            if self._revision < feed.floor:
                raise UnusableCursor("the changes since then are no longer known")
            for change in feed.since(self._revision, _CHANGES):
                await self._write_change(context, change)
                self._revision = change.revision

    async def _write_change(self, context: Context, change: Change) -> None:
        """Write the message of a change, if the job matches or has matched before."""
        job, revision = change.job, change.revision
        if (self._ids and job.id not in self._ids) or self._is_outdated(job):
            return
        if change.removal:
            if matches(self._filters, job):
                await _write_removal(context, job.id, change.removal, revision)
        elif matches(self._filters, job):
            await _write(context, changed=job_watch_pb2.JobChange(job=job, revision=revision))
        elif self._has_matched(job):
            reason = job_watch_pb2.REMOVAL_REASON_NO_LONGER_MATCHES
            await _write_removal(context, job.id, reason, revision)

    def _is_outdated(self, job: job_pb2.Job) -> bool:
        """Return whether the snapshot had a newer state of a job."""
        if job.id not in self._ended:
            return False
        if job.status in FINAL:
            self._ended.discard(job.id)
            return False
        return True

    def _has_matched(self, job: job_pb2.Job) -> bool:
        """Return whether the job can have matched with an earlier status."""
        can_match = self._filters.statuses & _EARLIER.get(STATUSES[job.status], _LIVE)
        return bool(can_match) and matches_with_any_status(self._filters, job)


async def _write_removal(
    context: Context, job_id: str, reason: job_watch_pb2.RemovalReason.ValueType, revision: int = 0
) -> None:
    await _write(context, removed=job_watch_pb2.JobRemoval(id=job_id, reason=reason, revision=revision))


async def _write(
    context: Context,
    *,
    changed: job_watch_pb2.JobChange | None = None,
    removed: job_watch_pb2.JobRemoval | None = None,
    reset: job_watch_pb2.WatchReset | None = None,
    bookmark: job_watch_pb2.WatchBookmark | None = None,
) -> None:
    message = job_watch_pb2.WatchJobsResponse(
        changed=changed, removed=removed, reset=reset, bookmark=bookmark
    )
    await context.write(message.SerializeToString())
