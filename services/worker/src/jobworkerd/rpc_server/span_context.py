"""Conversion of W3C Trace Context to the types of OpenTelemetry."""

import logging

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from jobworkerd.trace_context import TraceContext

# OpenTelemetry warns of each invalid `tracestate`, with which any client could fill the log.
logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)


def span_context(trace: TraceContext, *, remote: bool = False) -> SpanContext:
    """Return the span that is a parent. `remote` says that another program has sent it."""
    flags = TraceFlags(int(trace.traceparent[53:], 16))
    state = TraceState.from_header([trace.tracestate]) if trace.tracestate else None
    return SpanContext(int(trace.trace_id, 16), int(trace.span_id, 16), remote, flags, state)
