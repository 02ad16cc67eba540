"""Follows the objects of a selection: one list, then watches for as long as no change is missed."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from jobworker_cluster.kube import Json, Kube
from jobworker_cluster.kube_errors import Gone, KubeError, Refused, TooNew
from jobworker_cluster.resources import Selection

_WATCH_SECONDS = 20
"""Bounds the time after which a broken connection is noticed. A new watch costs the apiserver little."""

_SHORT_SECONDS = 1.0
"""A watch that ends sooner has not reached its end."""

NOT_LISTED = "not listed yet"
"""The problem of a reflector that has just started."""

_FIRST_DELAY_SECONDS = 0.1
_LAST_DELAY_SECONDS = 5.0


@dataclass(frozen=True)
class Listed:
    """The state at the start, and after changes were missed: all objects that exist."""

    items: list[Json]
    resource_version: int


@dataclass(frozen=True)
class Changed:
    """An object was added or modified."""

    item: Json
    resource_version: int


@dataclass(frozen=True)
class Deleted:
    """An object was deleted. `item` is its last state."""

    item: Json
    resource_version: int


@dataclass(frozen=True)
class Current:
    """Nothing else has changed up to a resource version."""

    resource_version: int


Event = Listed | Changed | Deleted | Current


@dataclass
class Backoff:
    """The growing, random delays between attempts, so that clients do not return at the same moment."""

    first: float = _FIRST_DELAY_SECONDS
    last: float = _LAST_DELAY_SECONDS
    _bound: float = field(default=0.0, init=False)

    def next(self) -> float:
        """Return the next delay."""
        self._bound = min(self.last, 2 * self._bound or self.first)
        return random.uniform(self._bound / 2, self._bound)  # noqa: S311 - not for secrets

    def reset(self) -> None:
        """Begin with the first delay again, after a success."""
        self._bound = 0.0


class Reflector:
    """Yields the events of a selection until it is cancelled, however often the connection breaks.

    `problem` is the reason why the events are late, in one sentence. It is empty while they are not.
    `is_refused` tells that the apiserver answers, but refuses the requests.
    `on_problem` is called after each attempt that failed.
    """

    def __init__(
        self,
        kube: Kube,
        selection: Selection,
        *,
        watch_seconds: int = _WATCH_SECONDS,
        backoff: Backoff | None = None,
        on_problem: Callable[[], None] = lambda: None,
    ) -> None:
        self._kube = kube
        self._selection = selection
        self._watch_seconds = watch_seconds
        self._backoff = backoff or Backoff()
        self._on_problem = on_problem
        self._version = ""
        self._is_listed = False
        self._is_unsure = False
        """Whether the apiserver was away, so that its store can have been restored."""
        self.problem = f"{selection.resource.plural}: {NOT_LISTED}"
        self.is_refused = False

    async def events(self) -> AsyncIterator[Event]:
        """Yield a Listed, then changes. Another Listed follows if changes were missed.

        An iteration that follows a cancelled one continues with the changes since then.
        """
        while True:
            try:
                if not self._is_listed:
                    yield await self._list()
                elif self._is_unsure:
                    await self._check_version()
                opened_at = time.monotonic()
                async for event in self._watch():
                    yield event
                if time.monotonic() - opened_at < min(_SHORT_SECONDS, self._watch_seconds):
                    # A server that shuts down, or a proxy, can end each watch at once.
                    await asyncio.sleep(self._backoff.next())
            except Gone:
                self._is_listed = False
                await asyncio.sleep(self._backoff.next())
            except TooNew as error:
                self._is_listed, self._version = False, ""
                self._report(error)
                await asyncio.sleep(self._backoff.next())
            except KubeError as error:
                self._report(error)
                self._is_unsure = True
                await asyncio.sleep(self._backoff.next())

    async def _list(self) -> Listed:
        page = await self._kube.list(self._selection, not_older_than=self._version)
        self._succeed(page.resource_version)
        self._is_listed, self._is_unsure = True, False
        return Listed(page.items, int(page.resource_version))

    async def _check_version(self) -> None:
        """Check that the apiserver has the version of the last event.

        From a later version than its own, it accepts a watch and sends nothing until it reaches the version.

        Raises:
            TooNew: its store was restored from a backup.
        """
        none = ",".join(filter(None, (self._selection.fields, "metadata.name=none")))
        await self._kube.list(replace(self._selection, fields=none), not_older_than=self._version)
        self._is_unsure = False

    async def _watch(self) -> AsyncIterator[Event]:
        async for kind, item in self._kube.watch(self._selection, self._version, self._watch_seconds):
            if kind == "OPENED":
                self._succeed(self._version)
                continue
            version = item["metadata"]["resourceVersion"]
            self._succeed(version)
            match kind:
                case "ADDED" | "MODIFIED":
                    yield Changed(item, int(version))
                case "DELETED":
                    yield Deleted(item, int(version))
                case "BOOKMARK":
                    yield Current(int(version))

    def _report(self, error: KubeError) -> None:
        kind, why = self._selection.resource.plural, str(error)
        self.problem = why if why.startswith(kind) else f"{kind}: {why}"
        self.is_refused = isinstance(error, Refused)
        self._on_problem()

    def _succeed(self, version: str) -> None:
        self._version = version
        self._backoff.reset()
        self.problem = ""
        self.is_refused = False
