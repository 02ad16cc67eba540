"""The trace of an RPC, whether this process exports spans or not."""

from contextvars import ContextVar

from jobworkerd import trace_context
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.trace_context import TraceContext

current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)
"""The span of the RPC, if the interceptor `Telemetry` has opened one."""


def of_call(context: Context) -> TraceContext | None:
    """Return the span of the RPC, or else the span of the client; None without a trace."""
    return current.get() or from_metadata(context)


def from_metadata(context: Context) -> TraceContext | None:
    """Return the span of the client; None without a valid one."""
    metadata = context.invocation_metadata() or ()
    parent = next((str(value) for key, value in metadata if key == "traceparent"), "")
    if not parent:
        return None
    states = [str(value) for key, value in metadata if key == "tracestate"]
    return trace_context.parse(parent, ",".join(states))
