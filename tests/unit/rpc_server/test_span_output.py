"""Export of spans in batches: each lost span is reported."""

import threading
from collections.abc import Sequence

import pytest
from api_server import Logged
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from jobworkerd.rpc_server.span_output import SpanOutput

RESOURCE = Resource({})


def span(number: int, flags: int = TraceFlags.SAMPLED) -> ReadableSpan:
    context = SpanContext(1, number + 1, is_remote=False, trace_flags=TraceFlags(flags))
    return ReadableSpan(f"span {number}", context, resource=RESOURCE)


class Exporter(SpanExporter):
    """An exporter that waits for `accepting`."""

    def __init__(self, outcome: SpanExportResult | Exception = SpanExportResult.SUCCESS) -> None:
        self.names: list[str] = []
        self.accepting = threading.Event()
        self.waiting = threading.Event()
        self._outcome = outcome

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.waiting.set()
        assert self.accepting.wait(30)
        self.names += [each.name for each in spans]
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def shutdown(self) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")


def test_spans_that_exceed_the_queue_are_dropped_counted_and_reported(logged: Logged) -> None:
    exporter, finished = Exporter(), list[str]()
    output = SpanOutput(exporter, lambda spans: finished.extend(each.name for each in spans))
    for number in range(2):
        output.add(span(number))
    assert exporter.waiting.wait(30)
    for number in range(2, 7):
        output.add(span(number))
    assert output.dropped == 3
    assert finished == ["span 4", "span 5", "span 6"]
    exporter.accepting.set()
    output.shutdown()
    assert exporter.names == ["span 0", "span 1", "span 2", "span 3"]
    assert sorted(finished) == [f"span {number}" for number in range(7)]
    (line,) = logged
    assert (line["event"], line["log_level"]) == ("spans lost", "warning")
    assert (line["not_accepted"], line["queue_full"]) == (0, 3)


def test_the_queue_has_room_again_after_an_export(logged: Logged) -> None:
    exporter, exported = Exporter(), threading.Semaphore(0)
    exporter.accepting.set()
    output = SpanOutput(exporter, lambda spans: exported.release(len(spans)))
    for number in range(10):
        output.add(span(number))
        if number % 2:
            assert exported.acquire(timeout=30)
            assert exported.acquire(timeout=30)
    output.shutdown()
    assert exporter.names == [f"span {number}" for number in range(10)]
    assert not logged


@pytest.mark.parametrize("outcome", [SpanExportResult.FAILURE, RuntimeError("broken")])
def test_spans_that_the_collector_refuses_are_reported(
    logged: Logged, outcome: SpanExportResult | Exception
) -> None:
    exporter, finished = Exporter(outcome), list[str]()
    exporter.accepting.set()
    output = SpanOutput(exporter, lambda spans: finished.extend(each.name for each in spans))
    for number in range(3):
        output.add(span(number))
    output.shutdown()
    assert finished == ["span 0", "span 1", "span 2"]
    lines = [line for line in logged if line["event"] == "spans lost"]
    assert sum(int(str(line["not_accepted"])) for line in lines) == 3


def test_a_span_that_is_not_sampled_is_not_exported(logged: Logged) -> None:
    exporter = Exporter()
    exporter.accepting.set()
    output = SpanOutput(exporter)
    output.add(span(1, TraceFlags.DEFAULT))
    output.add(span(2, TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID))
    output.shutdown()
    assert exporter.names == ["span 2"]
    assert not logged
