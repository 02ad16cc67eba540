"""Measures the duration of each RPC for the Prometheus endpoint.

The measurement is the one that `telemetry` exports by OTLP. This module needs no OpenTelemetry, which an API
process loads only for an exporter.
"""

import time

import grpc

from jobworkerd.metrics.instruments import Histogram
from jobworkerd.rpc_server import call_trace
from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.rpc import Call, status_of


class RpcMetrics(ServerInterceptor):
    """Records the duration of each RPC by its method and status. A stream is one RPC."""

    def __init__(self, durations: Histogram) -> None:
        self._durations = durations

    async def intercept(self, call: Call, run: Run) -> object:
        start = time.perf_counter()
        try:
            answer = await run(call)
        except BaseException as error:
            self._record(call, status_of(call.context, error), start)
            raise
        self._record(call, status_of(call.context), start)
        return answer

    def _record(self, call: Call, status: grpc.StatusCode, start: float) -> None:
        seconds = time.perf_counter() - start
        trace = call_trace.of_call(call.context)
        trace_id = trace.sampled_id if trace else ""
        self._durations.record(seconds, call.method, status.name, trace_id=trace_id)
