"""A supervisor that does not answer, a closed socket and a shutdown."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from jobworkerd import errors
from jobworkerd.protocol import client, messages
from jobworkerd.protocol.liveness import Liveness
from sample_jobs import FINAL, RUNNING, SPEC
from tests.unit.protocol.socket_pair import Pair, until, waiting


async def test_a_closed_socket_fails_all_calls(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        call = asyncio.create_task(pair.client.start_job(messages.StartJob(SPEC)))
        subscriber = asyncio.create_task(view.changed(3))
        await until(lambda: waiting(view) and ("start", SPEC) in pair.table.calls)
        pair.connection.close()
        async with asyncio.timeout(30):
            results = await asyncio.gather(call, subscriber, return_exceptions=True)
            await pair.client.wait_closed()
    assert [type(result) for result in results] == [errors.SupervisorUnavailable] * 2
    with pytest.raises(errors.SupervisorUnavailable):
        await pair.client.get_job("a")
    with pytest.raises(errors.SupervisorUnavailable):
        async with pair.client.follow("a"):
            pass


@contextlib.asynccontextmanager
async def watched(pair: Pair) -> AsyncIterator[list[bool]]:
    """Watch the supervisor, and yield the list of its reported states."""
    states: list[bool] = []
    watching = asyncio.create_task(pair.client.watch(states.append))
    yield states
    watching.cancel()


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Speed up the clock of pings a hundred times, and return the results of all ticks."""
    seen: list[bool] = []

    class Counting(Liveness):
        def tick(self) -> bool:
            seen.append(super().tick())
            return seen[-1]

    monkeypatch.setattr(client, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(client, "Liveness", Counting)
    return seen


async def test_calls_fail_until_the_supervisor_answers_again(ticks: list[bool], pair: Pair) -> None:
    assert ticks == []
    async with watched(pair) as states, asyncio.timeout(30):
        async with pair.client.follow("a") as view:
            call = asyncio.create_task(pair.client.start_job(messages.StartJob(SPEC)))
            subscriber = asyncio.create_task(view.changed(3))
            await until(lambda: waiting(view) and ("start", SPEC) in pair.table.calls)
            pair.stop_reading()
            starting = asyncio.create_task(_follow(pair))
            results = await asyncio.gather(call, subscriber, starting, return_exceptions=True)
            assert [str(result) for result in results] == ["the supervisor does not answer; retry"] * 3
            with pytest.raises(errors.SupervisorUnavailable):
                await view.changed(3)
        for ask in (pair.client.get_job("a"), pair.client.list_jobs(messages.ListJobs(page_size=1))):
            with pytest.raises(errors.SupervisorUnavailable):
                await ask
        assert states == [False]
        pair.resume_reading()
        await until(lambda: states == [False, True])
        assert await pair.client.get_job("a") == RUNNING
        async with pair.client.follow("a") as view:
            pair.grow(4)
            await view.changed(3)


async def _follow(pair: Pair) -> None:
    pair.table.jobs["b"] = RUNNING
    async with pair.client.follow("b"):
        pass


async def test_a_dropped_subscriber_does_not_unfollow_for_a_new_one(ticks: list[bool], pair: Pair) -> None:
    async with watched(pair) as states, asyncio.timeout(30):
        async with pair.client.follow("a"):
            pair.stop_reading()
            await until(lambda: states == [False])
            pair.resume_reading()
            await until(lambda: states == [False, True])
            newer = pair.client.follow("a")
            view = await newer.__aenter__()
        await pair.flushed()
        pair.grow(4)
        await view.changed(3)
        await newer.__aexit__(None, None, None)
    assert ticks


async def test_a_request_has_no_deadline_while_pings_are_answered(ticks: list[bool], pair: Pair) -> None:
    async with watched(pair) as states, asyncio.timeout(30):
        call = asyncio.create_task(pair.client.start_job(messages.StartJob(SPEC)))
        await until(lambda: sum(ticks) > 20)
        pair.table.held.set()
        assert await call == RUNNING
        assert states == []


async def test_pending_notices_are_sent_before_the_end(pair: Pair) -> None:
    async with pair.client.follow("a") as view:
        pair.end()
        pair.connection.close()
        await pair.client.wait_closed()
        assert view.job == FINAL


async def test_drain(pair: Pair) -> None:
    pair.connection.drain()
    await pair.flushed()
    assert sorted(pair.events) == ["drain", "ready"]


async def test_a_drain_notice_is_read_even_if_the_socket_closes_at_once(pair: Pair) -> None:
    transport = pair.client._transport
    assert transport
    transport.pause_reading()
    pair.connection.drain()
    pair.connection.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with contextlib.suppress(errors.SupervisorUnavailable):
        pair.client.request(messages.GetJob("a"))
    if not transport.is_closing():
        transport.resume_reading()
    await pair.client.wait_closed()
    assert pair.events == ["drain"]
