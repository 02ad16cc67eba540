"""Follows the Pods of the node."""

import asyncio
from collections.abc import Callable

from jobworker_agent.cluster import Cluster, PodEvent


class PodWatch:
    """Passes each event to `apply`."""

    def __init__(self, cluster: Cluster, apply: Callable[[PodEvent], None]) -> None:
        self._cluster = cluster
        self._apply = apply
        self._task: asyncio.Task[None] | None = None

    def restart(self) -> None:
        """Watch over a new connection at once.

        After a cut of the network, the connection of a watch can stay silent for half a minute. Meanwhile
        the node would run jobs that the cluster has given up.
        """
        if self._task:
            self._task.cancel()

    async def run(self) -> None:
        """Follow the Pods until cancelled."""
        while True:
            self._task = asyncio.ensure_future(self._follow())
            try:
                await asyncio.wait({self._task})
            finally:
                self._task.cancel()
            if not self._task.cancelled():
                self._task.result()

    async def _follow(self) -> None:
        async for event in self._cluster.pods():
            self._apply(event)
