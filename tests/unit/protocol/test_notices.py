"""Notices of followed jobs."""

import asyncio

import msgspec
import pytest

from jobworkerd import errors
from jobworkerd.protocol import messages
from sample_jobs import FINAL, RUNNING
from tests.unit.protocol.socket_pair import Pair, until, waiting


async def test_subscribers_of_a_job_share_one_follow(pair: Pair) -> None:
    async with pair.client.follow("a") as first, pair.client.follow("a") as second:
        assert first is second
        assert (first.job, first.log_size) == (RUNNING, 3)
        assert pair.table.count("get", "a", False) == 1
        pair.grow(5)
        async with asyncio.timeout(30):
            await asyncio.gather(first.changed(3), second.changed(3))
        assert first.log_size == 5


async def test_a_known_state_returns_at_once(pair: Pair) -> None:
    async with pair.client.follow("a") as view, asyncio.timeout(30):
        await view.changed(2)


async def test_notices_are_coalesced(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        for size in range(4, 1000):
            pair.grow(size)
        async with asyncio.timeout(30):
            await view.changed(3)
        assert view.log_size == 999
        assert pair.notices() == 1


async def test_a_process_that_does_not_read_later_gets_the_newest_state(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        pair.connection.pause_writing()
        pair.grow(5)
        await pair.flushed()
        pair.grow(8)
        await pair.flushed()
        assert view.log_size == 3
        pair.connection.resume_writing()
        async with asyncio.timeout(30):
            await view.changed(3)
        assert view.log_size == 8
        assert pair.notices() == 1


async def test_the_final_job_wakes_all_subscribers(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        subscribers = [asyncio.create_task(view.changed(size)) for size in (3, 9, 10**9)]
        await until(lambda: waiting(view) == len(subscribers))
        pair.end()
        async with asyncio.timeout(30):
            await asyncio.gather(*subscribers)
        assert (view.job, view.log_size) == (FINAL, 9)
    pair.connection.job_changed("a")
    await pair.flushed()
    assert pair.notices() == 1, "nothing comes after the final state"


async def test_following_a_final_job(pair: Pair) -> None:
    pair.table.jobs["a"] = FINAL
    async with pair.client.follow("a") as view, asyncio.timeout(30):
        await view.changed(10**9)
        assert (view.job, view.log_size) == (FINAL, 9)


async def test_following_an_unknown_job(pair: Pair) -> None:
    with pytest.raises(errors.JobNotFound):
        async with pair.client.follow("b"):
            pass
    pair.table.jobs["b"] = RUNNING
    async with pair.client.follow("b") as view:
        assert view.job == RUNNING


async def test_unfollow_ends_the_notices(pair: Pair) -> None:
    async with pair.client.follow("a"):
        pass
    await pair.flushed()
    pair.grow(5)
    await pair.flushed()
    assert pair.notices() == 0
    pair.table.jobs["a"] = msgspec.structs.replace(RUNNING, log_size=5)
    async with pair.client.follow("a") as view:
        assert view.log_size == 5


async def test_a_subscriber_that_leaves_does_not_affect_others(pair: Pair) -> None:
    async with pair.client.follow("a") as view:

        async def leave_early() -> None:
            async with pair.client.follow("a") as same:
                await same.changed(3)

        leaving = asyncio.create_task(leave_early())
        await until(lambda: waiting(view) == 1)
        leaving.cancel()
        await asyncio.wait([leaving])
        pair.grow(4)
        async with asyncio.timeout(30):
            await view.changed(3)


async def test_a_subscriber_that_leaves_before_the_reply_leaves_no_view(pair: Pair) -> None:
    async def read() -> None:
        async with pair.client.follow("a"):
            pass

    subscriber = asyncio.create_task(read())
    subscriptions = pair.client._subscriptions
    await until(lambda: subscriptions._follows)
    (seq,) = subscriptions._follows
    subscriber.cancel()
    await asyncio.sleep(0)  # one iteration: the subscriber is gone, its request is not
    assert subscriber.done()
    assert seq in subscriptions._follows
    pair.client._take_reply(seq, messages.OneJob(pair.table.jobs["a"]))
    await pair.flushed()
    assert subscriptions._views == {}
    assert subscriptions._follows == {}


async def test_a_job_removed_before_its_end_is_sent_still_ends_for_subscribers(pair: Pair) -> None:
    async with pair.client.follow("a") as view, asyncio.timeout(5):
        await pair.flushed()
        pair.connection.pause_writing()  # the process does not read
        pair.end()
        del pair.table.jobs["a"]
        pair.connection.resume_writing()
        await view.changed(3)
        assert view.job == FINAL
