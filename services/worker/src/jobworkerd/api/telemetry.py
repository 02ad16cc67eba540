"""Which telemetry leaves the process, as the standard variables of OpenTelemetry say.

`OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER` are comma-separated lists of `otlp` and `console`, or
`none`, which is the default here; the SDK reads the other `OTEL_…` variables itself. Where nothing is
exported the SDK is not even imported: that would double the time that the process takes to start.
"""

import contextlib
import importlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from jobworkerd.api.interceptors.around import Around
from jobworkerd.api.startup import CannotStart

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

_SERVICE_NAME = "jobworkerd"


def telemetry(environment: Mapping[str, str]) -> contextlib.AbstractContextManager[Sequence[Around]]:
    """Returns a context with the interceptors that telemetry needs, none if nothing is exported.

    The modules are loaded at once; threads and connections are for the context, and what is still
    buffered goes out when it is left.

    Raises:
        CannotStart: a variable names an exporter that there is not.
    """
    traces = _exporters(environment, "OTEL_TRACES_EXPORTER")
    metrics = _exporters(environment, "OTEL_METRICS_EXPORTER")
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not traces | metrics:
        return contextlib.nullcontext(())
    return _exporting(traces, metrics)


def _exporters(environment: Mapping[str, str], variable: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in environment.get(variable, "").split(",")) - {"", "none"}
    if unknown := names - {"otlp", "console"}:
        raise CannotStart(f"{variable}: unknown exporter {min(unknown)!r}; use otlp, console or none")
    return names


def _exporting(
    traces: frozenset[str], metrics: frozenset[str]
) -> contextlib.AbstractContextManager[Sequence[Around]]:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from jobworkerd.api.interceptors.telemetry import Telemetry

    # gRPC would load it with the first channel, when the process may no longer be able to.
    importlib.import_module("grpc._channel")
    resource = _resource()
    span_exporters = [_span_exporter(name) for name in traces]
    metric_exporters = [_metric_exporter(name) for name in metrics]

    @contextlib.contextmanager
    def exporting() -> Iterator[Sequence[Around]]:
        readers = [PeriodicExportingMetricReader(make()) for make in metric_exporters]
        meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        for make in span_exporters:
            tracers.add_span_processor(BatchSpanProcessor(make()))
        try:
            yield (Telemetry(tracers, meters),)
        finally:
            tracers.shutdown()
            meters.shutdown()

    return exporting()


def _resource() -> "Resource":
    """Returns what the environment says of this process, with names where it says nothing.

    The API processes report the same metrics, so each needs an instance id of its own.
    """
    from opentelemetry.sdk.resources import Resource

    given = Resource({"service.instance.id": str(uuid.uuid4())}).merge(Resource.create())
    if not str(given.attributes["service.name"]).startswith("unknown_service"):
        return given
    return given.merge(Resource({"service.name": _SERVICE_NAME}))


def _span_exporter(name: str) -> "Callable[[], SpanExporter]":
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter


def _metric_exporter(name: str) -> "Callable[[], MetricExporter]":
    if name == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

        return ConsoleMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter
