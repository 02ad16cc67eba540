"""A receiver of spans: the trace service of an OpenTelemetry collector, which keeps what it gets."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import grpc
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


class OtlpReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """The spans that have arrived at a port of 127.0.0.1. Threads of gRPC add them."""

    def __init__(self) -> None:
        self.port = 0
        self._spans: list[ReceivedSpan] = []
        self._changed = threading.Condition()

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator["OtlpReceiver"]:
        """Listen on a free port until the end of the context."""
        receiver = cls()
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        add = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add(receiver, server)  # type: ignore[no-untyped-call]  # generated
        receiver.port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield receiver
        finally:
            server.stop(grace=None).wait()

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that exports its spans to this receiver soon after their end."""
        return {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def Export(  # noqa: N802 - the name of the RPC
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: grpc.ServicerContext,  # noqa: ARG002 - gRPC's signature
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keep the spans of a request."""
        with self._changed:
            self._spans += _received(request)
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

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
