"""Metrics of API processes, and metrics for them."""

import asyncio

import pytest

from jobworkerd.errors import SupervisorUnavailable
from jobworkerd.protocol.metrics_messages import Metrics, Scrape
from tests.unit.protocol.socket_pair import Pair, until


async def test_an_api_process_gets_the_metrics_of_all_processes(pair: Pair) -> None:
    asking = asyncio.create_task(pair.client.metrics())
    assert (await pair.client.get_job("a")).id == "a", "other requests do not wait for a scrape"
    pair.table.metrics.held.set()
    assert await asking == Metrics(b"supervisor", (b"first", None))


async def test_the_supervisor_gets_the_snapshot_of_an_api_process(pair: Pair) -> None:
    answer = pair.connection.scrape()
    assert answer
    async with asyncio.timeout(30):
        assert await answer == b"snapshot"


async def test_a_process_that_does_not_answer_gets_one_request(pair: Pair) -> None:
    first, second = pair.connection.scrape(), pair.connection.scrape()
    assert first is second
    assert first
    assert pair.sent == [Scrape()]
    await first
    assert pair.connection.scrape() is not first
    assert pair.sent == [Scrape()] * 2


async def test_the_end_of_a_process_ends_its_scrape(pair: Pair) -> None:
    answer = pair.connection.scrape()
    assert answer
    assert pair.connection._transport
    pair.connection._transport.abort()
    await until(answer.cancelled)
    assert pair.connection.scrape() is None
    assert pair.table.metrics.ended_processes == [pair.connection._metrics]


async def test_an_api_process_exports_the_metrics_of_the_supervisor(pair: Pair) -> None:
    assert (await pair.client.export_metrics()).supervisor == b"exported"
    assert pair.table.metrics.exporting == [pair.connection._metrics]


async def test_a_scrape_fails_when_the_supervisor_ends(pair: Pair) -> None:
    asking = asyncio.create_task(pair.client.metrics())
    await pair.client.get_job("a")
    pair.connection.close()
    with pytest.raises(SupervisorUnavailable):
        await asking
    await until(lambda: pair.table.metrics.ended_processes != [])
