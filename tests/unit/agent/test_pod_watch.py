"""The watch of the Pods of the node."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from jobworker_agent.cluster import PodEvent, PodsListed
from jobworker_agent.pod_watch import PodWatch
from tests.unit.agent.fakes import FakeCluster


@dataclass
class SilentCluster(FakeCluster):
    """A watch that stays silent after its first event."""

    watches: int = 0

    async def pods(self) -> AsyncIterator[PodEvent]:
        self.watches += 1
        yield PodsListed(())
        await asyncio.Event().wait()


async def _until_watches(cluster: SilentCluster, count: int) -> None:
    while cluster.watches < count:
        await asyncio.sleep(0)


async def test_a_silent_watch_is_replaced_at_once() -> None:
    cluster = SilentCluster()
    events: list[PodEvent] = []
    watch = PodWatch(cluster, events.append)
    task = asyncio.ensure_future(watch.run())
    await _until_watches(cluster, 1)
    watch.restart()
    await _until_watches(cluster, 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert events == [PodsListed(())] * 2


async def test_an_error_of_the_agent_ends_the_watch() -> None:
    def fail(_event: PodEvent) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await PodWatch(SilentCluster(), fail).run()
