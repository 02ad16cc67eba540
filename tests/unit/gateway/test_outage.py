"""The time for which a stream cannot reach its node."""

import asyncio

import pytest

from jobworker_gateway.outage import Outage
from jobworkerd.errors import NodeUnreachable

ERROR = NodeUnreachable("one", "connection refused")


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays, which take no time here."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return found


async def test_the_delays_grow_until_the_node_answers(delays: list[float]) -> None:
    outage = Outage(Clock())
    for _ in range(6):
        outage.add(ERROR)
        await outage.wait(10)
    outage.end()
    outage.add(ERROR)
    await outage.wait(10)
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 0.1]


async def test_an_outage_has_a_limit() -> None:
    clock = Clock()
    outage = Outage(clock)
    outage.add(ERROR)
    clock.now += 9
    outage.add(ERROR)
    await outage.wait(10)
    clock.now += 1
    outage.add(ERROR)
    with pytest.raises(NodeUnreachable):
        await outage.wait(10)


async def test_a_failure_long_after_another_one_begins_another_outage(delays: list[float]) -> None:
    # A stream of a job without output has been open since.
    clock = Clock()
    outage = Outage(clock)
    outage.add(ERROR)
    await outage.wait(10)
    clock.now += 3_600
    outage.add(ERROR)
    await outage.wait(10)
    assert delays == [0.1, 0.1]
