"""The changes that an API process receives while it watches."""

import asyncio

import pytest
from msgspec.structs import replace

from jobworkerd import errors
from jobworkerd.protocol import job_changes, messages
from jobworkerd.protocol.change_log import Change, RemovalReason
from jobworkerd.protocol.job_feed import JobFeed
from sample_jobs import FINAL, RUNNING, SPEC
from tests.unit.protocol.socket_pair import Pair


def received(feed: JobFeed, after: int = 0) -> list[tuple[str, int, str]]:
    """Return the changes of a feed: the id, the revision, and the status or the reason of the removal."""
    return [(each.job_id, each.revision, _kind(each)) for each in feed.log.since(after, 1_000)]


def _kind(change: Change) -> str:
    if change.removal:
        return change.removal.value
    return change.job.status.value if change.job else "unread"


def notices(pair: Pair) -> int:
    return sum(isinstance(message, messages.Changes) for message in pair.sent)


async def test_watchers_share_one_feed_until_the_last_one_leaves(pair: Pair) -> None:
    changes = pair.table.changes
    async with pair.client.watch_jobs() as feed:
        async with pair.client.watch_jobs() as other:
            assert other is feed
        changes.changed("a")
        async with asyncio.timeout(10):
            await feed.reached(1)
        assert received(feed) == [("a", 1, "running")]
    await pair.flushed()
    changes.changed("a")
    await pair.flushed()
    assert notices(pair) == 1


async def test_earlier_changes_come_first_and_without_their_jobs(pair: Pair) -> None:
    changes = pair.table.changes
    changes.changed("a")
    changes.changed("b")
    changes.removed("b", RemovalReason.DELETED, FINAL)
    async with pair.client.watch_jobs() as feed:
        assert feed.epoch == changes.epoch
        assert received(feed) == [("a", 1, "unread"), ("b", 2, "completed"), ("b", 3, "deleted")]


async def test_a_process_that_does_not_read_gets_the_newest_states(pair: Pair) -> None:
    changes = pair.table.changes
    async with pair.client.watch_jobs() as feed:
        pair.connection.pause_writing()
        for _ in range(5):
            changes.changed("a")
        pair.table.jobs["a"] = FINAL
        changes.changed("a")
        await pair.flushed()
        assert received(feed) == []
        pair.connection.resume_writing()
        async with asyncio.timeout(10):
            await feed.reached(6)
        assert received(feed) == [("a", 6, "completed")]


async def test_changes_that_the_supervisor_has_dropped_make_earlier_cursors_too_old(pair: Pair) -> None:
    changes = pair.table.changes
    changes.log._max_changes = 2
    async with pair.client.watch_jobs() as feed:
        pair.connection.pause_writing()
        pair.table.jobs |= {name: replace(RUNNING, id=name) for name in "bcd"}
        for name in "abcd":
            changes.changed(name)
        pair.connection.resume_writing()
        async with asyncio.timeout(10):
            await feed.reached(4)
        assert (feed.log.floor, received(feed)) == (2, [("c", 3, "running"), ("d", 4, "running")])


async def test_a_job_that_cannot_be_read_is_sent_later(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_changes, "_RETRY_SECONDS", 0.001)
    async with pair.client.watch_jobs() as feed:
        for failure in (errors.JobNotFound("a"), OSError(5, "disk")):
            pair.table.failure = failure
            pair.table.changes.changed("a")
            await asyncio.sleep(0.01)
            await pair.flushed()
            pair.table.failure = None
            async with asyncio.timeout(10):
                await feed.reached(pair.table.changes.log.revision)
        assert received(feed) == [("a", 2, "running")]


async def test_many_changes_are_sent_in_several_notices(pair: Pair) -> None:
    pair.table.jobs |= {str(number): replace(RUNNING, id=str(number)) for number in range(120)}
    async with pair.client.watch_jobs() as feed:
        for number in range(120):
            pair.table.changes.changed(str(number))
        async with asyncio.timeout(10):
            await feed.reached(120)
        assert [revision for _, revision, _ in received(feed)] == list(range(1, 121))
        assert notices(pair) == 3


async def test_all_changes_are_sent_before_the_end(pair: Pair) -> None:
    pair.table.jobs |= {str(number): replace(FINAL, id=str(number)) for number in range(120)}
    async with pair.client.watch_jobs() as feed:
        for number in range(120):
            pair.table.changes.changed(str(number))
        pair.connection.close()
        await pair.client.wait_closed()
        assert len(received(feed)) == 120
        with pytest.raises(errors.SupervisorUnavailable):
            await feed.reached(121)


async def test_a_closed_connection_reads_no_more_jobs(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_changes, "_RETRY_SECONDS", 0.001)
    async with pair.client.watch_jobs():
        pair.table.jobs["b"] = replace(RUNNING, id="b")
        pair.table.changes.changed("b")
        pair.table.changes.changed("unknown")
        pair.connection.close()
        await pair.client.wait_closed()
    reads = len(pair.table.calls)
    await asyncio.sleep(0.02)
    assert len(pair.table.calls) == reads


async def test_the_environment_of_a_job_stays_in_the_supervisor(pair: Pair) -> None:
    pair.table.jobs["a"] = replace(RUNNING, spec=replace(SPEC, env={"SECRET": "1"}))
    async with pair.client.watch_jobs() as feed:
        pair.table.changes.changed("a")
        async with asyncio.timeout(10):
            await feed.reached(1)
        (change,) = feed.log.since(0, 10)
        assert change.job
        assert change.job.spec.env == {}


async def test_jobs_are_read_by_their_ids(pair: Pair) -> None:
    pair.table.changes.changed("a")
    page = await pair.client.get_jobs(["a", "b"])
    assert (page.jobs, page.revision) == ((RUNNING,), 1)
