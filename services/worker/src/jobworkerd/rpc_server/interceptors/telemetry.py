"""One span and one measurement per RPC, by the semantic conventions of OpenTelemetry for RPC (v1.45).

https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

import time

import grpc
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Status, StatusCode

from jobworkerd.rpc_server import call_trace
from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.rpc import Call, status_of
from jobworkerd.rpc_server.rpc_spans import RpcSpan, RpcSpans

_SCOPE = "jobworkerd.api"
_UNSET = Status()

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

    def __init__(self, spans: RpcSpans | None, meters: MeterProvider) -> None:
        """Without `spans`, only record the durations."""
        self._spans = spans
        self._durations = meters.get_meter(_SCOPE).create_histogram(
            "rpc.server.call.duration",
            unit="s",
            description="Measures the duration of an incoming Remote Procedure Call (RPC).",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )

    async def intercept(self, call: Call, run: Run) -> object:
        start = time.perf_counter()
        attributes = {"rpc.system.name": "grpc", "rpc.method": call.method}
        span = self._spans.start(call.context, call.method, attributes) if self._spans else None
        if span:
            call_trace.current.set(span.trace)
        try:
            answer = await run(call)
        except BaseException as error:
            self._record(span, attributes, status_of(call.context, error), start)
            raise
        self._record(span, attributes, status_of(call.context), start)
        return answer

    def _record(
        self, span: RpcSpan | None, attributes: dict[str, str], status: grpc.StatusCode, start: float
    ) -> None:
        result = attributes | {"rpc.response.status_code": status.name}
        if status in _FAULTS:
            result["error.type"] = status.name
        self._durations.record(time.perf_counter() - start, result)
        if self._spans and span:
            self._spans.end(span, result, Status(StatusCode.ERROR) if status in _FAULTS else _UNSET)
