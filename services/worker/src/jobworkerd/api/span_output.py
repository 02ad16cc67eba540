"""Sends finished spans to an exporter in batches, and counts those that are lost."""

from collections.abc import Callable, Sequence

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

OnFinish = Callable[[Sequence[ReadableSpan]], None]
"""Called with spans that are exported or lost, by the thread that exports, or by the one that ended them."""


class SpanOutput(BatchSpanProcessor):
    """A processor whose queue never overflows, because the SDK would drop spans without counting them.

    Each counter is changed by one thread: the loop's, or the one that exports.
    """

    def __init__(self, exporter: SpanExporter, on_finish: OnFinish = lambda _: None) -> None:
        self._counted = _CountedExporter(exporter, on_finish)
        self._on_finish = on_finish
        self._limit: int = self._default_max_queue_size()  # type: ignore[no-untyped-call]  # of the SDK
        self._accepted = 0
        self.dropped = 0
        super().__init__(self._counted, max_queue_size=self._limit)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span, or drop it if the exporter is too slow."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        if self._accepted - self._counted.finished < self._limit:
            self._accepted += 1
            super().on_end(span)
        else:
            self.dropped += 1
            self._counted.dropped = self.dropped
            self._on_finish([span])


class _CountedExporter(SpanExporter):
    """Counts the spans of an exporter, and reports lost ones in the log."""

    def __init__(self, exporter: SpanExporter, on_finish: OnFinish) -> None:
        self._exporter = exporter
        self._on_finish = on_finish
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        self.finished = 0
        self.dropped = 0
        self._reported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch. A failure is final: the exporter has retried."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self.finished += len(spans)
            self._report(0 if result is SpanExportResult.SUCCESS else len(spans))
            self._on_finish(spans)
        return result

    def _report(self, failed: int) -> None:
        dropped = self.dropped
        if failed or dropped > self._reported:
            self._log.warning("spans lost", not_accepted=failed, queue_full=dropped - self._reported)
            self._reported = dropped

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()
