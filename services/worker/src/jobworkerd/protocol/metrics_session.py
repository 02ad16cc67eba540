"""The metrics of one API process, at the supervisor's end of the connection."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from jobworkerd.protocol.messages import Done
from jobworkerd.protocol.metrics_messages import ExportMetrics, GetMetrics, Metrics, MetricsRequest, Scrape


class MetricsSource(Protocol):
    """The metrics of the server."""

    async def collect(self) -> Metrics:
        """Return the metrics of all processes."""

    def export(self, process: object) -> Metrics:
        """Return the metrics of the supervisor for export, or nothing if another process exports them."""

    def ended(self, process: object) -> None:
        """Let another process export the metrics of the supervisor if this one did."""


class MetricsSession:
    """Answers requests for metrics, and requests those of the process at most once at a time.

    A process that does not answer gets no further requests, so that they do not fill its socket. The next
    scrape uses its late answer.
    """

    def __init__(self, source: MetricsSource, send: Callable[[Scrape], None]) -> None:
        self._source = source
        self._send = send
        self._snapshot: asyncio.Future[bytes] | None = None

    async def handle(self, request: MetricsRequest) -> Metrics | Done:
        """Answer a request of the process."""
        match request:
            case GetMetrics():
                return await self._source.collect()
            case ExportMetrics():
                return self._source.export(self)
        if self._snapshot and not self._snapshot.done():
            self._snapshot.set_result(request.snapshot)
        return Done()

    def scrape(self) -> "asyncio.Future[bytes]":
        """Return the future snapshot of the process. It is cancelled when the process disconnects."""
        if self._snapshot is None or self._snapshot.done():
            self._snapshot = asyncio.get_running_loop().create_future()
            self._send(Scrape())
        return self._snapshot

    def close(self) -> None:
        """End the session of a process that has disconnected."""
        if self._snapshot:
            self._snapshot.cancel()
        self._source.ended(self)
