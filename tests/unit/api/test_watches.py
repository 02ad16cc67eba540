"""The messages of a watch, with a scripted supervisor and a client that reads them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from api_server import FINAL_JOB, JOB, JOB_ID
from msgspec.structs import replace

from jobworker.v1 import job_pb2, job_watch_pb2
from jobworkerd.api.watches import Watches
from jobworkerd.model import Job
from jobworkerd.protocol import messages
from jobworkerd.protocol.change_log import Change, ChangeLog, RemovalReason
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.job_feed import JobFeed
from jobworkerd.rpc_server import validation
from jobworkerd.rpc_server.job_messages import JobMessages
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.rpc_server.streaming import watch_call

EPOCH = 7
RUNNING = job_pb2.JOB_STATUS_RUNNING
COMPLETED = job_pb2.JOB_STATUS_COMPLETED
OTHER = replace(JOB, id=JOB_ID[:-1] + "2", spec=replace(JOB.spec, labels={"team": "a"}))


class Supervisor:
    """The jobs of a supervisor, and the feed of its changes."""

    def __init__(self, *jobs: Job, revision: int = 0) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.feed = JobFeed(messages.Watching(EPOCH, revision, revision))
        self.revision = revision
        self.requests: list[messages.ListJobs | tuple[str, ...]] = []

    @contextlib.asynccontextmanager
    async def watch_jobs(self) -> AsyncIterator[JobFeed]:
        yield self.feed

    async def list_jobs(self, request: messages.ListJobs) -> messages.JobPage:
        self.requests.append(request)
        newest_first = sorted(self.jobs.values(), key=lambda job: job.id, reverse=True)
        found = tuple(job for job in newest_first if not request.statuses or job.status in request.statuses)
        return messages.JobPage(found, revision=self.revision)

    async def get_jobs(self, job_ids: Sequence[str]) -> messages.JobPage:
        self.requests.append(tuple(job_ids))
        found = tuple(self.jobs[job_id] for job_id in job_ids if job_id in self.jobs)
        return messages.JobPage(found, revision=self.revision)

    def change(self, job: Job, **fields: object) -> None:
        """Change a job, and report it."""
        self.jobs[job.id] = changed = replace(job, **fields)
        self._report(changed.id, changed)

    def remove(self, job_id: str, *, is_known: bool = True) -> None:
        """Delete a job, and report it with its last state, if that is known."""
        job = self.jobs.pop(job_id)
        self._report(job_id, job if is_known else None, RemovalReason.DELETED)

    def _report(self, job_id: str, job: Job | None, removal: RemovalReason | None = None) -> None:
        change = Change(job_id, self.revision + 1, job, removal)
        self.feed.take(messages.Changes(self.revision, (change,)))
        self.revision += 1


class Client:
    """A client that has called WatchJobs."""

    def __init__(self) -> None:
        self._received: asyncio.Queue[job_watch_pb2.WatchJobsResponse] = asyncio.Queue()

    async def write(self, message: bytes) -> None:
        """Take a message of the server, as a context of gRPC does."""
        self._received.put_nowait(job_watch_pb2.WatchJobsResponse.FromString(message))

    async def next(self) -> job_watch_pb2.WatchJobsResponse:
        async with asyncio.timeout(10):
            return await self._received.get()

    async def read(self) -> list[str]:
        """Return the messages up to the next bookmark as text."""
        found = []
        while not (message := await self.next()).HasField("bookmark"):
            found.append(_text(message))
        self.cursor = message.bookmark.cursor
        return found

    async def read_text(self) -> str:
        return _text(await self.next())

    @property
    def has_message(self) -> bool:
        return not self._received.empty()


def _text(message: job_watch_pb2.WatchJobsResponse) -> str:
    match message.WhichOneof("kind"):
        case "changed":
            job = message.changed.job
            status = job_pb2.JobStatus.Name(job.status).removeprefix("JOB_STATUS_")
            return f"{job.id[-1]} {status} {message.changed.revision}"
        case "removed":
            removal = message.removed
            reason = job_watch_pb2.RemovalReason.Name(removal.reason).removeprefix("REMOVAL_REASON_")
            return f"{removal.id[-1]} {reason} {removal.revision}"
    return str(message.WhichOneof("kind"))


@contextlib.asynccontextmanager
async def watching(
    supervisor: Supervisor, client: Client | None = None, **fields: Any
) -> AsyncIterator[Client]:
    client = client or Client()
    request = validation.watch_jobs(job_watch_pb2.WatchJobsRequest(**fields))
    shared = Watches(cast("SupervisorClient", supervisor), JobMessages(1 << 20))
    async with shared.open(request) as watch:
        writing = asyncio.create_task(watch.write(cast("Context", client)))
        try:
            yield client
        finally:
            writing.cancel()
            await asyncio.wait([writing])


async def test_a_snapshot_and_then_changes() -> None:
    supervisor = Supervisor(JOB, OTHER)
    async with watching(supervisor) as client:
        assert await client.read() == ["2 RUNNING 0", "1 RUNNING 0"]
        supervisor.change(JOB, status=FINAL_JOB.status)
        supervisor.remove(JOB_ID)
        assert [await client.read_text() for _ in range(2)] == ["1 COMPLETED 1", "1 DELETED 2"]


async def test_a_job_that_cannot_have_matched_sends_nothing() -> None:
    supervisor = Supervisor(revision=5)
    async with (
        watching(supervisor, statuses=[RUNNING]) as running,
        watching(supervisor, statuses=[COMPLETED]) as completed,
    ):
        await running.read()
        await completed.read()
        supervisor.change(OTHER)
        supervisor.change(JOB, status=FINAL_JOB.status)
        supervisor.remove(JOB_ID)
        supervisor.change(OTHER, kill_pending=True)
        assert [await completed.read_text() for _ in range(2)] == ["1 COMPLETED 7", "1 DELETED 8"]
        assert [await running.read_text() for _ in range(2)] == ["1 NO_LONGER_MATCHES 7", "2 RUNNING 9"]
        assert not completed.has_message


async def test_other_filters_apply_to_changes_and_removals() -> None:
    supervisor = Supervisor(JOB, OTHER)
    async with (
        watching(supervisor, labels={"team": "a"}) as labelled,
        watching(supervisor, ids=[JOB_ID]) as named,
    ):
        await labelled.read()
        await named.read()
        supervisor.change(JOB, kill_pending=True)
        supervisor.change(OTHER, kill_pending=True)
        supervisor.remove(JOB_ID)
        supervisor.remove(OTHER.id, is_known=False)
        assert [await named.read_text() for _ in range(2)] == ["1 RUNNING 1", "1 DELETED 3"]
        assert [await labelled.read_text() for _ in range(2)] == ["2 RUNNING 2", "2 DELETED 4"]


async def test_an_older_change_does_not_follow_a_newer_page() -> None:
    supervisor = Supervisor(JOB)
    supervisor.jobs[JOB_ID] = FINAL_JOB
    supervisor.revision = 2  # The feed gets the two changes later than the page.
    async with watching(supervisor) as client:
        assert await client.read_text() == "1 COMPLETED 0"
        await asyncio.sleep(0.05)
        assert not client.has_message
        changes = (Change(JOB_ID, 1, JOB), Change(JOB_ID, 2, FINAL_JOB))
        supervisor.feed.take(messages.Changes(0, changes))
        assert await client.read() == ["1 COMPLETED 2"]


async def test_a_cursor_continues_with_jobs_that_the_feed_does_not_have() -> None:
    supervisor = Supervisor(JOB, OTHER)
    async with watching(supervisor) as client:
        await client.read()
    for revision, job_id in enumerate((JOB_ID, OTHER.id, JOB_ID[:-1] + "9"), 1):
        supervisor.feed.take(messages.Changes(revision - 1, (Change(job_id, revision),)))
    supervisor.revision = 3
    async with watching(supervisor, cursor=client.cursor) as resumed:
        assert await resumed.read() == ["1 RUNNING 1", "2 RUNNING 2"]


async def test_a_client_that_is_too_far_behind_starts_again() -> None:
    supervisor = Supervisor(JOB)
    supervisor.feed.log = ChangeLog(max_changes=1)
    async with watching(supervisor) as client:
        await client.read()
        supervisor.change(OTHER)
        supervisor.change(JOB, kill_pending=True)
        assert await client.read() == ["reset", "2 RUNNING 0", "1 RUNNING 0"]
        supervisor.change(JOB)
        assert await client.read_text() == "1 RUNNING 3"


async def test_a_cursor_of_another_process_waits_for_its_change() -> None:
    supervisor = Supervisor(JOB)
    supervisor.change(JOB)
    async with watching(supervisor) as client:
        await client.read()
    supervisor.feed = JobFeed(messages.Watching(EPOCH, 0, 0))
    async with watching(supervisor, cursor=client.cursor) as resumed:
        await asyncio.sleep(0.05)
        assert not resumed.has_message
        supervisor.feed.take(messages.Changes(0, (Change(JOB_ID, 1, JOB),)))
        assert await resumed.read() == []


@pytest.mark.parametrize("case", ["other epoch", "other filters", "future"])
async def test_an_unusable_cursor_starts_again(case: str) -> None:
    supervisor = Supervisor(JOB)
    async with watching(supervisor) as client:
        if case == "future":
            supervisor.change(JOB)
        await client.read()
    epoch = EPOCH + (case == "other epoch")
    if case != "other filters":
        supervisor.feed = JobFeed(messages.Watching(epoch, 0, 0))
        supervisor.revision = 0
    fields: dict[str, Any] = {"owner": JOB.spec.owner} if case == "other filters" else {}
    async with watching(supervisor, cursor=client.cursor, **fields) as resumed:
        assert await resumed.read() == ["reset", "1 RUNNING 0"]


async def test_a_watch_of_ids_reports_those_that_do_not_exist() -> None:
    async with watching(Supervisor(JOB), ids=[OTHER.id, JOB_ID]) as client:
        assert await client.read() == ["2 NOT_FOUND 0", "1 RUNNING 0"]


async def test_the_bound_on_final_jobs_skips_the_pages_of_the_others() -> None:
    final = [replace(FINAL_JOB, id=f"{JOB_ID[:-1]}{number}") for number in range(3, 6)]
    supervisor = Supervisor(JOB, *final)
    async with watching(supervisor, max_final_jobs=2) as client:
        assert await client.read() == ["5 COMPLETED 0", "4 COMPLETED 0", "1 RUNNING 0"]
    async with watching(supervisor, max_final_jobs=0) as client:
        assert await client.read() == ["1 RUNNING 0"]
    async with watching(supervisor, max_final_jobs=0, statuses=[COMPLETED]) as client:
        assert await client.read() == []
    assert len(supervisor.requests) == 2


async def test_a_bookmark_follows_a_silent_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_call, "BOOKMARK_SECONDS", 0.02)
    async with watching(Supervisor(JOB)) as client:
        assert await client.read() == ["1 RUNNING 0"]
        first = client.cursor
        assert await client.read() == []
        assert client.cursor == first


class SlowClient(Client):
    """A client that takes so long for each message that the job changes again."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__()
        self._supervisor = supervisor

    async def write(self, message: bytes) -> None:
        await super().write(message)
        await asyncio.sleep(0.001)
        self._supervisor.change(JOB)


async def test_a_client_that_never_catches_up_gets_bookmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_call, "BOOKMARK_SECONDS", 0.02)
    supervisor = Supervisor(JOB)
    async with watching(supervisor, SlowClient(supervisor)) as client:
        await client.read()
        first = client.cursor
        assert await client.read()
        assert client.cursor != first
