"""Spans and measurements in the in-memory exporters of the SDK."""

import contextlib
import time

import pytest
from api_server import Logged, eventually
from grpc import aio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from jobworkerd.errors import JobNotFound
from jobworkerd.rpc_server import call_trace
from jobworkerd.rpc_server.interceptors.errors import Errors
from jobworkerd.rpc_server.interceptors.logging import AccessLog
from jobworkerd.rpc_server.interceptors.telemetry import Telemetry
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.rpc_server.rpc_spans import RpcSpans
from jobworkerd.trace_context import TraceContext
from tests.unit.rpc_server.interceptors.conftest import METHODS, SERVICE, Behaviour, Serve, bug, nothing

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"


class Collected:
    """Telemetry in memory."""

    def __init__(self, sampler: Sampler = DEFAULT_ON) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        spans = RpcSpans(Resource({}), sampler, [SimpleSpanProcessor(self._spans).on_end])
        self.interceptor = Telemetry(spans, MeterProvider([self._metrics], shutdown_on_exit=False))

    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def durations(self) -> list[HistogramDataPoint]:
        data = self._metrics.get_metrics_data()
        assert data
        metrics = [
            metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        assert [(metric.name, metric.unit) for metric in metrics] == [("rpc.server.call.duration", "s")]
        points = list(metrics[0].data.data_points)
        assert all(isinstance(point, HistogramDataPoint) for point in points)
        return points  # type: ignore[return-value]  # asserted just above


async def _no_job(_context: Context) -> None:
    raise JobNotFound("j-1")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("behaviour", "status", "is_fault"),
    [(nothing, "OK", False), (_no_job, "NOT_FOUND", False), (bug, "INTERNAL", True)],
)
async def test_each_call_is_a_span_and_a_measurement(
    serve: Serve, logged: Logged, method: str, behaviour: Behaviour, status: str, *, is_fault: bool
) -> None:
    collected = Collected()
    async with serve(behaviour, collected.interceptor, Errors()) as client:
        with contextlib.suppress(aio.AioRpcError):
            await client.call(method)
        await eventually(collected.spans)
    expected = {
        "rpc.system.name": "grpc",
        "rpc.method": f"{SERVICE}/{method}",
        "rpc.response.status_code": status,
    }
    expected |= {"error.type": status} if is_fault else {}
    (span,) = collected.spans()
    assert (span.name, span.kind) == (f"{SERVICE}/{method}", SpanKind.SERVER)
    assert span.attributes == expected
    assert not span.events
    assert (span.status.status_code == StatusCode.ERROR) == is_fault
    (point,) = collected.durations()
    assert point.attributes == expected
    assert point.count == 1
    assert bool(logged) == is_fault


async def test_the_trace_of_the_client_is_continued(serve: Serve, logged: Logged) -> None:
    collected = Collected()
    async with serve(nothing, collected.interceptor, AccessLog()) as client:
        await client.call("Write", traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01")
        await eventually(collected.spans)
    (span,) = collected.spans()
    assert span.parent
    assert f"{span.parent.span_id:016x}" == SPAN_ID
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert [line["trace_id"] for line in logged] == [TRACE_ID]
    assert [line["span_id"] for line in logged] == [f"{span.context.span_id:016x}"]


@pytest.mark.parametrize("flags", ["00", "01", "03"])
async def test_the_span_of_the_call_is_the_parent_of_the_job(serve: Serve, flags: str) -> None:
    collected, contexts = Collected(), list[TraceContext | None]()

    async def create(context: Context) -> None:
        contexts.append(call_trace.of_call(context))

    async with serve(create, collected.interceptor) as client:
        await client.call("Write", traceparent=f"00-{TRACE_ID}-{SPAN_ID}-{flags}")
        await eventually(lambda: flags == "00" or collected.spans())
    (trace,) = contexts
    assert trace
    assert trace.trace_id == TRACE_ID
    assert trace.span_id != SPAN_ID
    assert trace.traceparent[-2:] == flags
    assert {trace.span_id} >= {f"{span.context.span_id:016x}" for span in collected.spans()}


async def test_without_an_exporter_of_spans_the_client_is_the_parent_of_the_job(serve: Serve) -> None:
    interceptor = Telemetry(None, MeterProvider(shutdown_on_exit=False))
    contexts = list[TraceContext | None]()

    async def create(context: Context) -> None:
        contexts.append(call_trace.of_call(context))

    async with serve(create, interceptor) as client:
        await client.call("Write", traceparent=f"00-{TRACE_ID}-{SPAN_ID}-03")
        await client.call("Write")
    assert contexts == [TraceContext(f"00-{TRACE_ID}-{SPAN_ID}-03"), None]


async def test_a_clock_that_is_set_back_makes_no_negative_span(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = Collected()

    async def set_back(_context: Context) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: 7)

    async with serve(set_back, collected.interceptor) as client:
        await client.call("Write")
        await eventually(collected.spans)
    (span,) = collected.spans()
    assert span.start_time
    assert span.end_time
    assert span.end_time >= span.start_time


async def test_the_sampler_decides(serve: Serve) -> None:
    collected, contexts = Collected(ALWAYS_OFF), list[TraceContext | None]()

    async def create(context: Context) -> None:
        contexts.append(call_trace.of_call(context))

    async with serve(create, collected.interceptor) as client:
        await client.call("Write")
        await client.call("Write", traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01")
    assert collected.spans() == []
    assert [trace and (trace.traceparent[-2:], trace.exported) for trace in contexts] == [
        ("02", False),
        ("00", False),
    ]
