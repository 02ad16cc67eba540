"""Spans of calls, by the semantic conventions of OpenTelemetry for RPC.

It needs the extra `telemetry` of this package. The client imports it if the program has imported
OpenTelemetry.
https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from collections.abc import Mapping
from types import MappingProxyType

from opentelemetry import propagate, trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import SpanKind, Status, StatusCode

from jobworker_client.tracing import CallTrace, from_environment

__all__ = ["begin", "parent_context"]

_OTHER_SERVICES: Mapping[str, str] = MappingProxyType(
    {"CreateLogin": "jobworker.v1.LoginService", "ListNodes": "jobworker.v1.ClusterService"}
)
"""The services of the methods that are not of JobService."""

_EXPECTED = frozenset({"OK", "CANCELLED"})
"""Statuses that are expected: the client cancels a stream when it has read the result."""


def begin(method: str) -> CallTrace:
    """Start the span of a call, and return the metadata that makes it the parent of the server's span."""
    name = f"{_OTHER_SERVICES.get(method, 'jobworker.v1.JobService')}/{method}"
    parent = parent_context()
    attributes = {"rpc.system.name": "grpc", "rpc.method": name}
    span = trace.get_tracer("jobworker_client").start_span(name, parent, SpanKind.CLIENT, attributes)
    metadata: dict[str, str] = {}
    propagate.inject(metadata, trace.set_span_in_context(span, parent))

    def end(status: str) -> None:
        span.set_attribute("rpc.response.status_code", status)
        if status not in _EXPECTED:
            span.set_attribute("error.type", status)
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    # gRPC refuses keys with upper-case letters, which some propagators use.
    return CallTrace(tuple((key.lower(), value) for key, value in metadata.items()), end)


def parent_context() -> Context:
    """Return the current context, or the one in the environment variables if there is no current span."""
    current = get_current()
    if trace.get_current_span(current).get_span_context().is_valid:
        return current
    return propagate.extract(from_environment(), current)
