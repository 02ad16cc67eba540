"""A scrape of all processes, some of which do not answer."""

import asyncio

import pytest

from jobworkerd.metrics.definitions import QUEUE_LENGTH
from jobworkerd.metrics.instruments import Snapshot, decode, sample
from jobworkerd.protocol.metrics_messages import Metrics
from jobworkerd.supervisor import metrics_collection
from jobworkerd.supervisor.metrics_collection import MetricsCollection

OWN = Snapshot(0, (sample(QUEUE_LENGTH, 3),))


class Processes:
    """API processes whose answers the test gives."""

    def __init__(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        self.answers: list[asyncio.Future[bytes] | None] = [loop.create_future() for _ in range(count)]
        self.scrapes = 0

    def scrape(self) -> "list[asyncio.Future[bytes] | None]":
        self.scrapes += 1
        return self.answers

    def answer(self, number: int, snapshot: bytes) -> None:
        answer = self.answers[number]
        assert answer
        answer.set_result(snapshot)


async def collected(processes: Processes) -> Metrics:
    async with asyncio.timeout(30):
        return await MetricsCollection(lambda: OWN, processes.scrape).collect()


async def test_all_answer() -> None:
    processes = Processes(2)
    processes.answer(0, b"zero")
    processes.answer(1, b"one")
    found = await collected(processes)
    assert decode(found.supervisor) == OWN
    assert found.api_processes == (b"zero", b"one")


async def test_a_slow_process_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_collection, "_ANSWER_SECONDS", 0.05)
    processes = Processes(2)
    processes.answer(1, b"one")
    assert (await collected(processes)).api_processes == (None, b"one")
    processes.answer(0, b"late")
    assert (await collected(processes)).api_processes == (b"late", b"one"), "its request is still pending"


async def test_a_process_that_ends_or_restarts_is_missing() -> None:
    processes = Processes(2)
    processes.answers[0] = None
    ending = processes.answers[1]
    assert ending
    asyncio.get_running_loop().call_soon(ending.cancel)
    assert (await collected(processes)).api_processes == (None, None)


async def test_scrapes_at_the_same_time_share_one_result() -> None:
    processes = Processes(1)
    collection = MetricsCollection(lambda: OWN, processes.scrape)
    scrapes = [asyncio.create_task(collection.collect()) for _ in range(3)]
    await asyncio.sleep(0)
    scrapes[0].cancel()
    await asyncio.sleep(0)
    processes.answer(0, b"zero")
    async with asyncio.timeout(30):
        for each in scrapes[1:]:
            assert (await each).api_processes == (b"zero",)
    assert processes.scrapes == 1
    await collection.collect()
    assert processes.scrapes == 2


async def test_one_process_exports_the_metrics_of_the_supervisor() -> None:
    collection = MetricsCollection(lambda: OWN, list)
    assert decode(collection.export("first").supervisor) == OWN
    assert collection.export("second").supervisor == b""
    collection.ended("second")
    assert collection.export("second").supervisor == b""
    collection.ended("first")
    assert decode(collection.export("second").supervisor) == OWN
    assert collection.export("first").supervisor == b""
