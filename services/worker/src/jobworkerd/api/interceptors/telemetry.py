"""One span and one measurement per RPC, by the semantic conventions of OpenTelemetry for RPC (v1.45).

https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

import time

import grpc
from opentelemetry import propagate
from opentelemetry.context import Context as ParentContext
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    format_span_id,
    format_trace_id,
)

from jobworkerd.api import call_trace
from jobworkerd.api.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.api.rpc import Call, status_of
from jobworkerd.trace_context import TraceContext

_SCOPE = "jobworkerd.api"

_DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Seconds, from the conventions."""

_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""The statuses that the conventions define as errors of the server."""


class Telemetry(ServerInterceptor):
    """Opens a SERVER span for each RPC, as a child of the client's span, and records its duration.

    The histogram also counts the RPCs.
    """

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        self._tracer = tracers.get_tracer(_SCOPE)
        self._durations = meters.get_meter(_SCOPE).create_histogram(
            "rpc.server.call.duration",
            unit="s",
            description="Measures the duration of an incoming Remote Procedure Call (RPC).",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )

    async def intercept(self, call: Call, run: Run) -> object:
        start = time.perf_counter()
        attributes = {"rpc.system.name": "grpc", "rpc.method": call.method}
        with self._tracer.start_as_current_span(
            call.method,
            context=_parent_context(call),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            _set_current(span)
            try:
                answer = await run(call)
            except BaseException as error:
                self._record(span, attributes, status_of(call.context, error), start)
                raise
            self._record(span, attributes, status_of(call.context), start)
            return answer

    def _record(self, span: Span, attributes: dict[str, str], status: grpc.StatusCode, start: float) -> None:
        outcome = {"rpc.response.status_code": status.name}
        if status in _FAULTS:
            outcome["error.type"] = status.name
            span.set_status(Status(StatusCode.ERROR))
        span.set_attributes(outcome)
        self._durations.record(time.perf_counter() - start, attributes | outcome)


def _parent_context(call: Call) -> ParentContext:
    metadata = call.context.invocation_metadata() or ()
    return propagate.extract({key: value for key, value in metadata if isinstance(value, str)})


def _set_current(span: Span) -> None:
    """Make the span the parent of what the call does. Without an exporter of spans there can be none."""
    context = span.get_span_context()
    if context.is_valid:
        ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
        traceparent = f"00-{ids}-{context.trace_flags:02x}"
        state = context.trace_state.to_header()
        call_trace.current.set(TraceContext(traceparent, state, exported=span.is_recording()))
