"""Continues the trace of a call in the calls to nodes, whether this gateway exports spans or not."""

from jobworker_cluster.trace_headers import TraceHeaders
from jobworkerd.rpc_server import call_trace
from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.rpc import Call
from jobworkerd.trace_context import TraceContext


class NodeTrace(ServerInterceptor):
    """Makes the span of a call the parent of its calls to nodes, or else the span of the client."""

    async def intercept(self, call: Call, run: Run) -> object:
        call_trace.current.set(call_trace.of_call(call.context))
        return await run(call)


def current() -> TraceHeaders:
    """Return the trace of the call in progress."""
    return headers(call_trace.current.get())


def headers(trace: TraceContext | None) -> TraceHeaders:
    """Return a trace for a node."""
    return TraceHeaders(trace.traceparent, trace.tracestate) if trace else TraceHeaders()
