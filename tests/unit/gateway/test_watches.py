"""WatchJobs through a gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from cluster_jobs import ALICE, BOB, final, job, job_id
from fake_cluster import FakeCluster
from gateway_calls import Call, service_of
from jobworker.v1 import job_pb2, job_service_pb2, job_watch_pb2
from jobworker_gateway.change_feed import ChangeFeed
from jobworker_gateway.engine import ArchivedJob
from jobworker_gateway.job_table import JobTable, LiveJob
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.service import GatewayJobService
from jobworker_gateway.watches import Watch
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.rpc_server.requests import WatchRequest
from jobworkerd.rpc_server.streaming.rate_limiter import RateLimiter
from scripted_node import ScriptedNode, answer

IDS = [job_id(number) for number in range(6)]
Response = job_watch_pb2.WatchJobsResponse


class Watcher:
    """Opens watches and reads their messages."""

    def __init__(self, service: GatewayJobService, open_: AsyncExitStack) -> None:
        self._service = service
        self._open = open_
        self._call = Call()

    async def start(self, **fields: Any) -> None:
        """Open a watch, and end the one before."""
        await self._open.aclose()
        self._call = Call()
        request = job_watch_pb2.WatchJobsRequest(**fields)
        write = await self._open.enter_async_context(self._service.WatchJobs(request, self._call.context))
        writing = asyncio.ensure_future(write())
        self._open.callback(writing.cancel)

    async def next(self) -> Response:
        """Return the next message."""
        return Response.FromString(await asyncio.wait_for(self._call.responses.get(), 5))

    async def until_bookmark(self) -> tuple[list[tuple[str, str]], str]:
        """Return the messages up to a bookmark, as a kind and an id, and the cursor."""
        found = []
        while not (message := await self.next()).HasField("bookmark"):
            found.append(brief(message))
        return found, message.bookmark.cursor


def brief(message: Response) -> tuple[str, str]:
    """Return the status or the reason in a message, and the id of its job."""
    match message.WhichOneof("kind"):
        case "changed":
            status = job_pb2.JobStatus.Name(message.changed.job.status)
            return status.removeprefix("JOB_STATUS_"), message.changed.job.id
        case "removed":
            reason = job_watch_pb2.RemovalReason.Name(message.removed.reason)
            return reason.removeprefix("REMOVAL_REASON_"), message.removed.id
        case kind:
            return str(kind), ""


@pytest.fixture
async def service(cluster: FakeCluster, nodes: NodeConnections) -> GatewayJobService:
    """The service."""
    return service_of(cluster.jobs, nodes)


@pytest.fixture
async def watcher(service: GatewayJobService) -> AsyncIterator[Watcher]:
    """A client."""
    async with AsyncExitStack() as open_:
        yield Watcher(service, open_)


async def test_a_watch_has_a_snapshot_and_then_each_change(cluster: FakeCluster, watcher: Watcher) -> None:
    await cluster.put(final(IDS[0]))
    await cluster.put(job(IDS[1], "QUEUED"))
    await watcher.start()
    snapshot, _ = await watcher.until_bookmark()
    assert snapshot == [("QUEUED", IDS[1]), ("COMPLETED", IDS[0])]
    await cluster.put(job(IDS[1], "RUNNING"))
    assert brief(await watcher.next()) == ("RUNNING", IDS[1])
    await cluster.put(final(IDS[1], "FAILED"))
    ended = await watcher.next()
    assert ended.changed.job == final(IDS[1], "FAILED")
    assert ended.changed.revision > 0


async def test_a_deleted_job_is_removed(
    cluster: FakeCluster, node: ScriptedNode, service: GatewayJobService, watcher: Watcher
) -> None:
    await cluster.put(final(IDS[0]))
    await watcher.start()
    await watcher.until_bookmark()
    node.on("DeleteJob", answer(job_service_pb2.DeleteJobResponse()))
    await service.DeleteJob(job_service_pb2.DeleteJobRequest(id=IDS[0]), Call().context)
    assert brief(await watcher.next()) == ("DELETED", IDS[0])


async def test_a_watch_continues_after_its_cursor(cluster: FakeCluster, watcher: Watcher) -> None:
    await cluster.put(job(IDS[0], "QUEUED"))
    await watcher.start()
    _, cursor = await watcher.until_bookmark()
    await cluster.put(job(IDS[0]))
    await cluster.put(final(IDS[0]))
    await watcher.start(cursor=cursor)
    # The states in between are coalesced.
    assert (await watcher.until_bookmark())[0] == [("COMPLETED", IDS[0])]


@pytest.mark.parametrize("change", ["gateway", "filter", "damage"])
async def test_another_cursor_starts_again(
    cluster: FakeCluster, nodes: NodeConnections, watcher: Watcher, change: str
) -> None:
    await cluster.put(job(IDS[0]))
    await watcher.start()
    _, cursor = await watcher.until_bookmark()
    async with AsyncExitStack() as open_:
        other = Watcher(service_of(cluster.jobs, nodes), open_) if change == "gateway" else watcher
        owner = ALICE if change == "filter" else ""
        await other.start(cursor="?" if change == "damage" else cursor, owner=owner)
        assert (await other.until_bookmark())[0] == [("reset", ""), ("RUNNING", IDS[0])]


async def test_filters_apply_to_the_snapshot_and_to_changes(cluster: FakeCluster, watcher: Watcher) -> None:
    await cluster.put(job(IDS[0], owner=BOB))
    await cluster.put(job(IDS[1]))
    await cluster.put(final(IDS[2]))
    await watcher.start(owner=ALICE, statuses=[job_pb2.JOB_STATUS_RUNNING])
    assert (await watcher.until_bookmark())[0] == [("RUNNING", IDS[1])]
    await cluster.put(final(IDS[0], owner=BOB))
    await cluster.put(final(IDS[1]))
    assert brief(await watcher.next()) == ("NO_LONGER_MATCHES", IDS[1])


async def test_named_jobs_are_watched(cluster: FakeCluster, watcher: Watcher) -> None:
    await cluster.put(job(IDS[0]))
    await cluster.put(job(IDS[1]))
    await watcher.start(ids=[IDS[0], IDS[5]])
    assert (await watcher.until_bookmark())[0] == [("NOT_FOUND", IDS[5]), ("RUNNING", IDS[0])]
    await cluster.put(final(IDS[1]))
    await cluster.put(final(IDS[0]))
    assert brief(await watcher.next()) == ("COMPLETED", IDS[0])


async def test_a_snapshot_can_have_a_few_final_jobs(cluster: FakeCluster, watcher: Watcher) -> None:
    for each in IDS[:4]:
        await cluster.put(final(each))
    await cluster.put(job(IDS[4]))
    await watcher.start(max_final_jobs=2)
    expected = [("RUNNING", IDS[4]), ("COMPLETED", IDS[3]), ("COMPLETED", IDS[2])]
    assert (await watcher.until_bookmark())[0] == expected


async def test_no_older_state_follows_a_final_one(cluster: FakeCluster, watcher: Watcher) -> None:
    # Another gateway has archived the job, and this one has not seen its end.
    await cluster.put(job(IDS[0], "QUEUED"))
    await cluster.archive.add(ArchivedJob(final(IDS[0])))
    await watcher.start()
    assert (await watcher.until_bookmark())[0] == [("COMPLETED", IDS[0])]
    cluster.engine.jobs.put(LiveJob(job(IDS[0])))
    cluster.engine.jobs.put(LiveJob(job(IDS[1])))
    assert brief(await watcher.next()) == ("RUNNING", IDS[1])
    await cluster.put(final(IDS[0]))
    assert brief(await watcher.next()) == ("COMPLETED", IDS[0])


def test_a_feed_forgets_the_oldest_changes() -> None:
    feed = ChangeFeed(max_changes=2)
    for each in IDS[:3]:
        feed.removed(final(each))
    assert [change.job.id for change in feed.since(0, 10)] == IDS[1:3]
    assert (feed.floor, feed.revision) == (1, 3)


def test_a_feed_has_bounded_memory() -> None:
    size = final(IDS[0]).ByteSize()
    feed = ChangeFeed(max_bytes=2 * size)
    for number in range(100):
        feed.removed(final(IDS[number % 3]))
    assert len(feed.since(0, 10)) == 2


def test_a_feed_keeps_the_end_of_a_removed_job() -> None:
    feed, table = ChangeFeed(), JobTable()
    feed.follow(table)
    table.put(LiveJob(job(IDS[0])))
    table.put(LiveJob(final(IDS[0])))
    feed.removed(final(IDS[0]))
    assert [bool(change.removal) for change in feed.since(0, 10)] == [False, True]


def test_a_feed_has_neither_the_same_state_twice_nor_a_deleted_job_again() -> None:
    feed, table = ChangeFeed(), JobTable()
    feed.follow(table)
    table.put(LiveJob(final(IDS[0])))
    table.put(LiveJob(final(IDS[0]), address="one:1"))
    assert feed.revision == 1
    feed.removed(final(IDS[0]))
    table.put(LiveJob(final(IDS[0], log_size=7)))
    assert feed.revision == 2


def test_no_older_state_follows_a_final_one_in_a_feed() -> None:
    """A slow gateway creates a Pod for a job that has ended and left the table."""
    feed, table = ChangeFeed(), JobTable()
    feed.follow(table)
    table.put(LiveJob(final(IDS[0])))
    table.remove(IDS[0])
    table.put(LiveJob(job(IDS[0], "QUEUED")))
    table.put(LiveJob(final(IDS[0])))
    assert [change.job for change in feed.since(0, 10)] == [final(IDS[0])]
    assert feed.revision == 1


@pytest.mark.parametrize("has_ended", [False, True])
async def test_a_job_whose_end_the_gateway_has_missed_is_removed(
    cluster: FakeCluster, watcher: Watcher, *, has_ended: bool
) -> None:
    """Another gateway has archived the job, and a client has deleted it there."""
    await cluster.put(job(IDS[0]))
    if has_ended:
        await cluster.archive.add(ArchivedJob(final(IDS[0])))
    await watcher.start()
    expected = ("COMPLETED" if has_ended else "RUNNING", IDS[0])
    assert (await watcher.until_bookmark())[0] == [expected]
    await cluster.archive.delete(IDS[0])
    cluster.engine.jobs.remove(IDS[0])
    assert brief(await watcher.next()) == ("DELETED", IDS[0])


async def test_a_client_that_is_too_slow_starts_again(cluster: FakeCluster) -> None:
    feed, call = ChangeFeed(max_changes=1), Call()
    feed.follow(cluster.engine.jobs)
    watch = Watch(WatchRequest(first_page=ListJobs(page_size=10)), cluster.jobs, feed, RateLimiter())
    writing = asyncio.ensure_future(watch.write(call.context))
    first = Response.FromString(await call.responses.get())
    assert first.HasField("bookmark")
    for each in IDS[:3]:
        await cluster.archive.add(ArchivedJob(final(each)))
    for each in IDS[:3]:
        cluster.engine.jobs.put(LiveJob(final(each)))
    found = [brief(Response.FromString(await call.responses.get())) for _ in range(5)]
    writing.cancel()
    snapshot = [("COMPLETED", each) for each in (IDS[2], IDS[1], IDS[0])]
    assert found == [("reset", ""), *snapshot, ("bookmark", "")]
