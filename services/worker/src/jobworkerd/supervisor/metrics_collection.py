"""Collects the metrics of all processes of the server. An API process merges them (`api.metrics`)."""

import asyncio
from collections.abc import Callable, Sequence

from jobworkerd.metrics.instruments import Snapshot, encode
from jobworkerd.protocol.metrics_messages import Metrics

_ANSWER_SECONDS = 1.0
"""A process that answers later is missing in the scrape. Prometheus waits ten seconds by default."""


class MetricsCollection:
    """The metrics of this process, and those that the API processes send.

    API processes send their samples encoded, and this process does not look into them.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        scrape: Callable[[], "Sequence[asyncio.Future[bytes] | None]"],
    ) -> None:
        """`scrape` requests the metrics of each API process; None stands for one that is not connected."""
        self._snapshot = snapshot
        self._scrape = scrape
        self._running: asyncio.Task[Metrics] | None = None
        self._exporter: object = None

    async def collect(self) -> Metrics:
        """Return the metrics of all processes. Scrapes at the same time share one result."""
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._collect())
            self._running.add_done_callback(self._done)
        return await asyncio.shield(self._running)

    def _done(self, _task: "asyncio.Task[Metrics]") -> None:
        self._running = None

    async def _collect(self) -> Metrics:
        requested = self._scrape()
        if pending := [each for each in requested if each]:
            await asyncio.wait(pending, timeout=_ANSWER_SECONDS)
        return Metrics(encode(self._snapshot()), tuple(map(_answer, requested)))

    def export(self, process: object) -> Metrics:
        """Return the metrics of the supervisor for export by an API process.

        Only the first process that asks gets them, so that they are not exported several times. Another one
        follows when it has ended (see `ended`).
        """
        if self._exporter is None:
            self._exporter = process
        return Metrics(encode(self._snapshot()) if process is self._exporter else b"")

    def ended(self, process: object) -> None:
        """Let another process export the metrics of the supervisor if this one did."""
        if process is self._exporter:
            self._exporter = None


def _answer(requested: "asyncio.Future[bytes] | None") -> bytes | None:
    answered = requested is not None and requested.done() and not requested.cancelled()
    return requested.result() if requested and answered else None
