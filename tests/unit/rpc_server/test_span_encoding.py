"""The encoding of spans is that of the SDK."""

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from jobworkerd.rpc_server.span_encoding import encode

RESOURCE = Resource({"service.name": "jobworkerd", "pids": (1, 2)}, "https://example.com/schema")
SCOPE = InstrumentationScope("jobworkerd.api", "1.0")
OTHER_SCOPE = InstrumentationScope("jobworkerd.supervisor")
STATE = TraceState([("vendor", "1"), ("other", "2")])


def context(number: int, *, remote: bool = False, state: TraceState | None = None) -> SpanContext:
    return SpanContext(2**127 + number, 2**63 + number, remote, TraceFlags(3), state)


def span(**fields: object) -> ReadableSpan:
    defaults: dict[str, object] = {
        "name": "jobworker.job",
        "context": context(1),
        "resource": RESOURCE,
        "instrumentation_scope": SCOPE,
        "start_time": 1_700_000_000_000_000_001,
        "end_time": 1_700_000_000_000_000_002,
    }
    return ReadableSpan(**(defaults | fields))  # type: ignore[arg-type]


SPANS = {
    "root": span(),
    "child": span(parent=context(2)),
    "remote parent": span(parent=context(2, remote=True), kind=SpanKind.SERVER),
    "client": span(kind=SpanKind.CLIENT),
    "state": span(context=context(3, state=STATE)),
    "other scope": span(instrumentation_scope=OTHER_SCOPE),
    "no scope": span(instrumentation_scope=None),
    "attributes": span(
        attributes={"text": "\N{SNOWMAN}" * 100, "empty": "", "yes": True, "no": False, "zero": 0, "one": 1}
    ),
    "numbers": span(attributes={str(number): number for number in (127, 128, 2**62, -1, -(2**63))}),
    "other attributes": span(attributes={"float": 1.5, "list": ("a", "b")}),
    "long name": span(name="x" * 20_000),
    "error": span(status=Status(StatusCode.ERROR, "exited with code 3")),
    "error without a message": span(status=Status(StatusCode.ERROR)),
    "ok": span(status=Status(StatusCode.OK)),
    "events": span(events=[Event("oom_kill", {"count": 2}, 5), Event("nothing", timestamp=6)]),
    "links": span(links=[Link(context(4))]),
}


def flat(request: ExportTraceServiceRequest) -> list[tuple[object, object, Span]]:
    return [
        (of_resource.resource, of_scope.scope, each)
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for each in of_scope.spans
    ]


@pytest.mark.parametrize("name", SPANS)
def test_each_kind_of_span(name: str) -> None:
    assert encode([SPANS[name]]) == encode_spans([SPANS[name]])


def test_a_batch_is_grouped_by_scope() -> None:
    found, expected = flat(encode(SPANS.values())), flat(encode_spans(list(SPANS.values())))
    assert len(found) == len(SPANS)
    assert found == expected
