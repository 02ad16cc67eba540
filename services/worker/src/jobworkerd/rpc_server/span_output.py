"""Sends finished spans to an exporter in batches, and counts those that are lost.

The processor of the SDK drops spans of a full queue without counting them, and takes several times as long.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

OnFinish = Callable[[Sequence[ReadableSpan]], None]
"""Called with spans that are exported or lost, by the thread that exports, or by the one that ended them."""


class SpanOutput:
    """A bounded queue of spans, and the thread that exports them.

    The variables are those of the SDK: `OTEL_BSP_SCHEDULE_DELAY`, `OTEL_BSP_MAX_QUEUE_SIZE` and
    `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
    """

    def __init__(self, exporter: SpanExporter, on_finish: OnFinish = lambda _: None) -> None:
        self._exporter = exporter
        self._on_finish = on_finish
        self._delay = _setting("OTEL_BSP_SCHEDULE_DELAY", 5_000) / 1_000
        self._limit = _setting("OTEL_BSP_MAX_QUEUE_SIZE", 2_048)
        self._batch = min(_setting("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512), self._limit)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        self._queue: deque[ReadableSpan] = deque()
        self._exporting = 0
        self.dropped = 0
        self._reported = 0
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def add(self, span: ReadableSpan) -> None:
        """Queue a sampled span, or drop it if the exporter is too slow. One thread may call this."""
        if not span.context.trace_flags.sampled:
            return
        waiting = len(self._queue)
        if waiting + self._exporting >= self._limit:
            self.dropped += 1
            self._on_finish([span])
            return
        self._queue.append(span)
        if waiting + 1 == self._batch:
            self._wake.set()

    def shutdown(self) -> None:
        """Export the queued spans, and shut the exporter down."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._delay)
            self._wake.clear()
            self._export_all()
        self._export_all()

    def _export_all(self) -> None:
        while self._queue:
            self._exporting = min(len(self._queue), self._batch)
            spans = [self._queue.popleft() for _ in range(self._exporting)]
            self._report(0 if self._export(spans) else len(spans))
            self._exporting = 0
            self._on_finish(spans)

    def _export(self, spans: Sequence[ReadableSpan]) -> bool:
        """Return whether the collector accepted the spans. A failure is final: the exporter has retried."""
        try:
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - a bug of the exporter must not end the thread
            self._log.exception("spans not exported")
            return False

    def _report(self, refused: int) -> None:
        dropped = self.dropped
        if refused or dropped > self._reported:
            self._log.warning("spans lost", not_accepted=refused, queue_full=dropped - self._reported)
            self._reported = dropped


def _setting(name: str, default: int) -> int:
    given = os.environ.get(name, "").strip()
    return int(given) if given.isdecimal() and int(given) else default
