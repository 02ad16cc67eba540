"""The part of a WatchJobs call that a host and a gateway share: the order of its messages, and its cursor."""

import abc
import asyncio
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from jobworker.v1 import job_watch_pb2
from jobworkerd.rpc_server import watch_cursor
from jobworkerd.rpc_server.requests import WatchRequest
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.rpc_server.streaming.rate_limiter import RateLimiter
from jobworkerd.rpc_server.watch_cursor import UnusableCursor

BOOKMARK_SECONDS = 30.0


class Change(Protocol):
    """A change of a job."""

    @property
    def revision(self) -> int:
        """The number of the change."""


class Changes(Protocol):
    """The newest changes. A cursor below `floor` may have missed one."""

    @property
    def revision(self) -> int:
        """The number of the newest change."""

    @property
    def floor(self) -> int:
        """The number of the newest change that is no longer known."""


class Feed(Protocol):
    """The arrival of changes."""

    @property
    def epoch(self) -> int:
        """A number that differs between servers, and after a restart."""

    async def reached(self, revision: int) -> None:
        """Wait until the changes up to a revision are here."""


ChangeT = TypeVar("ChangeT", bound=Change)


class WatchCall(abc.ABC, Generic[ChangeT]):
    """A WatchJobs call. It is a cursor in the changes and has no queue, however slow its client is."""

    def __init__(self, request: WatchRequest, feed: Feed, changes: Changes, turns: RateLimiter) -> None:
        self._request = request
        self._filters = request.first_page
        self._ids = frozenset(request.ids)
        self._arrival = feed
        self._known = changes
        self._turns = turns
        self._revision = 0
        self._next_bookmark = 0.0

    async def write(self, context: Context) -> None:
        """Write messages until the call ends.

        Raises:
            JobWorkerError: the jobs or their changes cannot be read.
        """
        is_new = not self._request.cursor
        while True:
            try:
                await self._begin(context, is_new=is_new)
                await self._follow(context)
            except UnusableCursor as error:
                await write_message(context, reset=job_watch_pb2.WatchReset(reason=str(error)))
                is_new = True

    @abc.abstractmethod
    async def _write_snapshot(self, context: Context) -> None:
        """Write the jobs that match, and changes after each page, so that a long snapshot cannot miss one."""

    @abc.abstractmethod
    async def _next_changes(self) -> Sequence[ChangeT]:
        """Return the first changes after the cursor."""

    @abc.abstractmethod
    async def _write_change(self, context: Context, change: ChangeT) -> None:
        """Write the message of a change, if the job matches or has matched before."""

    async def _reach(self, revision: int) -> None:  # noqa: ARG002 - a subclass can wait for it
        """Wait for the revision of a cursor, which is newer than all known changes.

        Raises:
            UnusableCursor: the cursor is not from this server.
        """
        raise UnusableCursor("the cursor is not from this server")

    async def _begin(self, context: Context, *, is_new: bool) -> None:
        """Write a snapshot, or the changes after the cursor."""
        if is_new:
            self._revision = self._known.revision
            await self._write_snapshot(context)
        else:
            request = self._request
            revision = watch_cursor.revision_of(request.cursor, self._arrival.epoch, request.fingerprint)
            if revision > self._known.revision:
                await self._reach(revision)
            self._revision = revision
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
                await self._arrival.reached(self._revision + 1)
                await self._turns.wait()
        except TimeoutError:
            return False
        return True

    async def _write_bookmark(self, context: Context) -> None:
        cursor = watch_cursor.make(self._arrival.epoch, self._revision, self._request.fingerprint)
        await write_message(context, bookmark=job_watch_pb2.WatchBookmark(cursor=cursor))
        self._next_bookmark = asyncio.get_running_loop().time() + BOOKMARK_SECONDS

    async def _write_changes(self, context: Context) -> None:
        """Write the changes up to now.

        Raises:
            UnusableCursor: the client is so slow that not all changes are known any more.
        """
        end = self._known.revision
        while self._revision < end:
            if self._revision < self._known.floor:
                raise UnusableCursor("the changes since then are no longer known")
            for change in await self._next_changes():
                await self._write_change(context, change)
                self._revision = change.revision


async def write_removal(
    context: Context, job_id: str, reason: job_watch_pb2.RemovalReason.ValueType, revision: int = 0
) -> None:
    """Write that a job is no longer watched."""
    removal = job_watch_pb2.JobRemoval(id=job_id, reason=reason, revision=revision)
    await write_message(context, removed=removal)


async def write_message(
    context: Context,
    *,
    changed: job_watch_pb2.JobChange | None = None,
    removed: job_watch_pb2.JobRemoval | None = None,
    reset: job_watch_pb2.WatchReset | None = None,
    bookmark: job_watch_pb2.WatchBookmark | None = None,
) -> None:
    """Write a message with one of its kinds."""
    message = job_watch_pb2.WatchJobsResponse(
        changed=changed, removed=removed, reset=reset, bookmark=bookmark
    )
    await context.write(message.SerializeToString())
