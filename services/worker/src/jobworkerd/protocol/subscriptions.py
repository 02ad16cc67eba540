"""The subscriptions of an API process: jobs that it follows, and the changes of all jobs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from jobworkerd.errors import JobWorkerError
from jobworkerd.protocol import messages
from jobworkerd.protocol.job_feed import JobFeed
from jobworkerd.protocol.job_view import JobView

T = TypeVar("T")


class Connection(Protocol):
    """The connection to the supervisor."""

    def request(self, body: messages.RequestBody) -> "tuple[int, asyncio.Future[messages.ReplyBody]]":
        """Send a request, and return its number and its future reply."""

    def send_if_connected(self, body: messages.RequestBody) -> None:
        """Send a request whose reply does not matter."""


class _Shared(Generic[T]):
    """A subscription that several subscribers share."""

    def __init__(self, opening: Coroutine[Any, Any, T]) -> None:
        self.opened = asyncio.get_running_loop().create_task(opening)
        self.subscribers = 0


class Subscriptions:
    """The subscriptions of one connection. Each ends with its last subscriber."""

    def __init__(
        self,
        connection: Connection,
        expect_job: Callable[[messages.ReplyBody], object],
        expect_start: Callable[[messages.ReplyBody], object],
    ) -> None:
        """`expect_job` and `expect_start` raise the error of a reply that is not the expected one."""
        self._connection = connection
        self._expect_job, self._expect_start = expect_job, expect_start
        self._followed: dict[str, _Shared[JobView]] = {}
        self._views: dict[str, JobView] = {}
        self._follows: dict[int, str] = {}
        self._watched: _Shared[JobFeed] | None = None
        self._feed: JobFeed | None = None

    @asynccontextmanager
    async def follow(self, job_id: str) -> AsyncIterator[JobView]:
        """Follow a job until the context ends. All subscribers of a job that runs share one view.

        A final job can have been deleted, and another attempt of it can run, so it is read again.
        """
        followed, view = self._followed.get(job_id), self._views.get(job_id)
        if followed is None or (view and view.job.status.final):
            followed = self._followed[job_id] = _Shared(self._view(job_id))
        followed.subscribers += 1
        try:
            yield await asyncio.shield(followed.opened)
        finally:
            followed.subscribers -= 1
            if followed.subscribers == 0:
                self._unfollow(job_id, followed)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[JobFeed]:
        """Receive the changes of all jobs until the context ends. All watchers share one feed."""
        watched = self._watched
        if watched is None:
            watched = self._watched = _Shared(self._open_feed())
        watched.subscribers += 1
        try:
            yield await asyncio.shield(watched.opened)
        finally:
            watched.subscribers -= 1
            if watched.subscribers == 0:
                self._unwatch(watched)

    def take_reply(self, seq: int, body: messages.ReplyBody) -> None:
        """Process the reply to a pending request at once: the next frame can be a notice."""
        if (job_id := self._follows.pop(seq, None)) and isinstance(body, messages.OneJob):
            self._views[job_id] = JobView(body.job)
        if isinstance(body, messages.Watching):
            self._feed = JobFeed(body)

    def drop_reply(self, seq: int) -> None:
        """Ignore the reply to a request that was cancelled."""
        self._follows.pop(seq, None)

    def take_notice(self, notice: messages.Progress | messages.Changes) -> None:
        """Process a notice."""
        match notice:
            case messages.Progress(job_id, log_size, job, resize):
                if view := self._views.get(job_id):
                    view.update(log_size, job, resize)
            case messages.Changes():
                if self._feed:
                    self._feed.take(notice)

    def fail(self, error: JobWorkerError) -> None:
        """End all waits of subscribers with an error."""
        for view in self._views.values():
            view.fail(error)
        if self._feed:
            self._feed.fail(error)

    def end_all(self) -> None:
        """End all subscriptions. Subscribers that return subscribe again."""
        for job_id in self._followed:
            self._connection.send_if_connected(messages.Unfollow(job_id))
        if self._watched:
            self._connection.send_if_connected(messages.UnwatchJobs())
        self._followed.clear()
        self._views.clear()
        self._watched = self._feed = None

    async def _view(self, job_id: str) -> JobView:
        seq, reply = self._connection.request(messages.Follow(job_id))
        self._follows[seq] = job_id
        try:
            self._expect_job(await reply)
        finally:
            self._follows.pop(seq, None)
        return self._views[job_id]

    def _unfollow(self, job_id: str, followed: _Shared[JobView]) -> None:
        if self._followed.get(job_id) is not followed:
            # `end_all` has dropped it, and another subscriber can follow again.
            return
        del self._followed[job_id]
        followed.opened.cancel()
        view = self._views.pop(job_id, None)
        if not (view and view.job.status.final):
            self._connection.send_if_connected(messages.Unfollow(job_id))

    async def _open_feed(self) -> JobFeed:
        self._expect_start(await self._connection.request(messages.WatchJobs())[1])
        feed = self._feed
        assert feed
        await feed.ready()
        return feed

    def _unwatch(self, watched: _Shared[JobFeed]) -> None:
        if self._watched is not watched:
            return
        self._watched = self._feed = None
        watched.opened.cancel()
        self._connection.send_if_connected(messages.UnwatchJobs())
