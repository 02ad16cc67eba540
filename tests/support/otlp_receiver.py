"""A receiver of spans: the trace service of an OpenTelemetry collector, over gRPC and as JSON over HTTP."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from http import server as http_server
from typing import Any

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

_GIVE_UP_SECONDS = 60


@dataclass(frozen=True)
class ReceivedSpan:
    """A span and the resource that it belongs to, with ids in hexadecimal digits."""

    span: trace_pb2.Span
    resource: dict[str, Any]
    scope: str

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent_id(self) -> str:
        """The id of the parent; empty for the root of a trace."""
        return self.span.parent_span_id.hex()

    @property
    def attributes(self) -> dict[str, Any]:
        return _values(self.span.attributes)


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Accepts metrics, and drops them."""

    def Export(  # noqa: N802 - the name of the RPC
        self,
        request: metrics_service_pb2.ExportMetricsServiceRequest,  # noqa: ARG002 - gRPC's signature
        context: grpc.ServicerContext,  # noqa: ARG002 - gRPC's signature
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        """Accept a request."""
        return metrics_service_pb2.ExportMetricsServiceResponse()


class OtlpReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """The spans that have arrived at two ports of this host. Threads add them."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.port = 0
        self.http_port = 0
        self._spans: list[ReceivedSpan] = []
        self._changed = threading.Condition()
        self._accepting = threading.Event()
        self._accepting.set()
        self._waiting: list[tuple[trace_service_pb2.ExportTraceServiceRequest, grpc.ServicerContext]] = []

    @classmethod
    @contextlib.contextmanager
    def started(cls, host: str = "127.0.0.1") -> Iterator["OtlpReceiver"]:
        """Listen on free ports of an address until the end of the context."""
        receiver = cls(host)
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=20))
        add = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add(receiver, server)  # type: ignore[no-untyped-call]  # generated
        add = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server
        add(_Metrics(), server)  # type: ignore[no-untyped-call]  # generated
        receiver.port = server.add_insecure_port(f"{host}:0")
        server.start()
        try:
            with _json_over_http(receiver) as receiver.http_port:
                yield receiver
        finally:
            server.stop(grace=None).wait()

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that exports its spans to this receiver soon after their end."""
        return {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.host}:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def Export(  # noqa: N802 - the name of the RPC
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: grpc.ServicerContext,
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keep the spans of a request, unless its sender has ended in the meantime."""
        if not self._accepting.is_set():
            self._waiting.append((request, context))
            self._accepting.wait(_GIVE_UP_SECONDS)
        if context.is_active():
            self.add(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @contextlib.contextmanager
    def stuck(self) -> Iterator[None]:
        """Answer no request in the context, like a collector that is overloaded."""
        self._accepting.clear()
        try:
            yield
        finally:
            self._waiting.clear()
            self._accepting.set()

    def waiting(self, name: str) -> list[grpc.ServicerContext]:
        """Return the unanswered requests with a span of this name, whose senders have not ended."""
        return [
            context
            for request, context in self._waiting
            if context.is_active() and any(span.name == name for span in _received(request))
        ]

    def add(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Keep the spans of a request."""
        with self._changed:
            self._spans += _received(request)
            self._changed.notify_all()

    def spans(self, trace_id: str = "") -> list[ReceivedSpan]:
        """Return the spans of a trace, or all spans, in the order of their arrival."""
        with self._changed:
            return [each for each in self._spans if trace_id in {"", each.trace_id}]

    def wait_for(self, trace_id: str, *names: str) -> dict[str, ReceivedSpan]:
        """Wait until a trace has spans with these names, and return its spans by their names.

        It blocks the thread: call it with `asyncio.to_thread` in a loop that has other work.
        """

        def complete() -> bool:
            return {each.name for each in self._spans if each.trace_id == trace_id} >= set(names)

        with self._changed:
            arrived = self._changed.wait_for(complete, _GIVE_UP_SECONDS)
        found = self.spans(trace_id)
        assert arrived, (
            f"{set(names) - {each.name for each in found}} did not arrive; there is\n{tree(found)}"
        )
        return {each.name: each for each in found}


def tree(spans: Sequence[ReceivedSpan]) -> str:
    """Return spans as an indented tree, children in the order of their starts."""
    known = {each.span_id for each in spans}
    ordered = sorted(spans, key=lambda each: each.span.start_time_unix_nano)

    def lines(parent: str | None, depth: int) -> Iterator[str]:
        for each in ordered:
            if each.parent_id == parent or (parent is None and each.parent_id not in known):
                took = (each.span.end_time_unix_nano - each.span.start_time_unix_nano) / 1e6
                who = each.resource.get("service.name", "")
                yield f"{'  ' * depth}{each.name}  {took:.3f} ms  [{who}]  {each.attributes}"
                yield from lines(each.span_id, depth + 1)

    return "\n".join(lines(None, 0))


@contextlib.contextmanager
def _json_over_http(receiver: OtlpReceiver) -> Iterator[int]:
    """Yield the port that accepts POST /v1/traces."""

    class Handler(http_server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])), object_hook=_decode_ids)
            receiver.add(json_format.ParseDict(body, trace_service_pb2.ExportTraceServiceRequest()))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Print nothing."""

    with http_server.ThreadingHTTPServer((receiver.host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _decode_ids(value: dict[str, Any]) -> dict[str, Any]:
    """Return an object whose ids are in base64, as protobuf needs them. OTLP has hexadecimal digits."""
    ids = {"traceId", "spanId", "parentSpanId"}
    encoded = {key: base64.b64encode(bytes.fromhex(value[key])).decode() for key in ids & value.keys()}
    return value | encoded


def _received(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for of_resource in request.resource_spans:
        resource = _values(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield ReceivedSpan(span, resource, of_scope.scope.name)


def _values(attributes: "Sequence[common_pb2.KeyValue]") -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: common_pb2.AnyValue) -> Any:
    found: object = getattr(value, value.WhichOneof("value") or "string_value")
    return [_value(each) for each in found.values] if isinstance(found, common_pb2.ArrayValue) else found
