"""PriorityClasses for the priorities of jobs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobworker_cluster import names
from jobworker_cluster.kube import Kube
from jobworker_cluster.resources import PRIORITY_CLASSES, Selection
from jobworkerd.errors import ClusterRefused

_FRESH_SECONDS = 60.0


@dataclass(frozen=True, order=True)
class PriorityClass:
    """A class and its value."""

    value: int
    name: str


def choose(classes: Sequence[PriorityClass], priority: int) -> PriorityClass | None:
    """Return the class with the greatest value up to a priority, else the lowest; None without classes."""
    below = [each for each in classes if each.value <= priority]
    return max(below) if below else min(classes, default=None)


class Priorities:
    """The PriorityClasses that have the label for jobs, read again when they are a minute old."""

    def __init__(self, kube: Kube, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._classes: list[PriorityClass] = []
        self._stale_at = 0.0

    async def class_for(self, priority: int) -> str:
        """Return the name of the class for a priority.

        Raises:
            ClusterRefused: no class has the label.
            KubeError: the classes cannot be read.
        """
        if not self._classes or self._clock() >= self._stale_at:
            await self._read()
        if found := choose(self._classes, priority):
            return found.name
        raise ClusterRefused(
            f"no PriorityClass of the cluster has the label {names.ALL_PRIORITIES}",
            "an administrator has to create one, as in packaging/kubernetes/cluster",
        )

    async def _read(self) -> None:
        page = await self._kube.list(Selection(PRIORITY_CLASSES, labels=names.ALL_PRIORITIES))
        self._classes = [PriorityClass(item.get("value", 0), item["metadata"]["name"]) for item in page.items]
        self._stale_at = self._clock() + _FRESH_SECONDS
