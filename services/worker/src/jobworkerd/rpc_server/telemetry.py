"""Configures telemetry from the standard environment variables of OpenTelemetry.

`OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER` are comma-separated lists of `otlp` and `console`, or
`none`, which is the default here. The SDK reads the other `OTEL_…` variables. Without an exporter the SDK is
not imported, because this would double the start time of the process.
"""

import contextlib
import importlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog

from jobworkerd.rpc_server.interceptors.server_interceptor import ServerInterceptor
from jobworkerd.startup import CannotStart

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from jobworkerd.rpc_server.metrics.otlp import MetricsExport

_DEFAULT_INTERVAL = 60.0

_FLUSH_SECONDS = 1.0
"""Maximum wait for collectors at the end. The supervisor kills an API process after 5 s."""


class _Closable(Protocol):
    """A provider or an exporter."""

    def shutdown(self) -> None:
        """Shut down; a provider sends its buffered data first."""


class SpanSource(Protocol):
    """Makes the spans of a server that are not those of RPCs."""

    def attach(self, outputs: "Sequence[Callable[[ReadableSpan], None]]") -> None:
        """Set the functions that take finished spans."""

    def finished(self, spans: "Sequence[ReadableSpan]") -> None:
        """Learn which spans are exported or lost. Any thread can call it."""


S = TypeVar("S", bound=SpanSource)


@dataclass(frozen=True)
class Exporting(Generic[S]):
    """The parts that export telemetry: interceptors, the metrics, and the source of other spans."""

    interceptors: Sequence[ServerInterceptor] = ()
    metrics: "MetricsExport | None" = None
    spans: S | None = None


def telemetry(
    environment: Mapping[str, str], service: str, make_spans: "Callable[[Resource], S] | None" = None
) -> contextlib.AbstractContextManager[Exporting[S]]:
    """Return a context manager that yields the parts that export telemetry, none without an exporter.

    `service` is the name of the service unless a variable sets another one. `make_spans` makes the source of
    further spans.

    This function loads the modules. Threads and connections start when the context is entered, and buffered
    data is sent when it is left.

    Raises:
        CannotStart: a variable names an unknown exporter or an unsupported protocol.
    """
    traces = _exporters(environment, "OTEL_TRACES_EXPORTER")
    metrics = _exporters(environment, "OTEL_METRICS_EXPORTER")
    _warn_about_logs(environment)
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not traces | metrics:
        nothing: Exporting[S] = Exporting()
        return contextlib.nullcontext(nothing)
    for signal, exporters in (("TRACES", traces), ("METRICS", metrics)):
        if "otlp" in exporters:
            _check_protocol(environment, signal)
    resource = _resource(service)
    spans = make_spans(resource) if make_spans and traces else None
    return _exporting(traces, metrics, resource, spans, _interval(environment))


def _interval(environment: Mapping[str, str]) -> float:
    """Return the seconds between exports of metrics, as the SDK does."""
    given = environment.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    return int(given) / 1_000 if given.isdecimal() and int(given) else _DEFAULT_INTERVAL


def _check_protocol(environment: Mapping[str, str], signal: str) -> None:
    for variable in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := environment.get(variable, "").strip():
            if protocol != "grpc":
                raise CannotStart(
                    f"{variable}: {protocol!r} is not supported; use grpc, or unset it, and set a gRPC "
                    "endpoint of the collector, usually on port 4317"
                )
            return


def _warn_about_logs(environment: Mapping[str, str]) -> None:
    exporter = environment.get("OTEL_LOGS_EXPORTER", "").strip()
    if exporter not in {"", "none"}:
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        reason = f"OTEL_LOGS_EXPORTER: {exporter!r} is ignored; unset it, because logs go to stderr only"
        log.warning("telemetry", reason=reason)


def _exporters(environment: Mapping[str, str], variable: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in environment.get(variable, "").split(",")) - {"", "none"}
    if unknown := names - {"otlp", "console"}:
        raise CannotStart(f"{variable}: unknown exporter {min(unknown)!r}; use otlp, console or none")
    return names


def _exporting(
    traces: frozenset[str], metrics: frozenset[str], resource: "Resource", spans: S | None, interval: float
) -> contextlib.AbstractContextManager[Exporting[S]]:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    from jobworkerd.rpc_server.interceptors.telemetry import Telemetry
    from jobworkerd.rpc_server.metrics.otlp import MetricsExport
    from jobworkerd.rpc_server.rpc_spans import RpcSpans
    from jobworkerd.rpc_server.span_output import SpanOutput

    # gRPC loads it for the first channel, when the process may no longer be able to read it.
    importlib.import_module("grpc._channel")
    sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
    span_exporters = [_span_exporter(name) for name in traces]
    metric_exporters = [_metric_exporter(name) for name in metrics]

    @contextlib.contextmanager
    def exporting() -> Iterator[Exporting[S]]:
        span_outputs = [make() for make in span_exporters]
        metric_outputs = [make() for make in metric_exporters]
        snapshots = MetricsExport([make() for make in metric_exporters], resource, interval)
        export = snapshots if metric_exporters else None
        readers = [PeriodicExportingMetricReader(each) for each in metric_outputs]
        meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        outputs = [SpanOutput(each, spans.finished) if spans else SpanOutput(each) for each in span_outputs]
        add = [each.add for each in outputs]
        if spans:
            spans.attach(add)
        # A span that is not exported must not become the parent of others.
        rpc_spans = RpcSpans(resource, sampler, add) if outputs else None
        try:
            yield Exporting((Telemetry(rpc_spans, meters),), export, spans)
        finally:
            _shut_down([*outputs, meters, snapshots], [*span_outputs, *metric_outputs])

    return exporting()


def _shut_down(providers: Sequence[_Closable], exporters: Sequence[_Closable]) -> None:
    """Send buffered data, and drop it if a collector does not accept it in time."""
    flushing = [threading.Thread(target=each.shutdown, daemon=True) for each in providers]
    for thread in flushing:
        thread.start()
    deadline = time.monotonic() + _FLUSH_SECONDS
    for thread in flushing:
        thread.join(max(deadline - time.monotonic(), 0))
    if any(thread.is_alive() for thread in flushing):
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        log.warning("telemetry", reason=f"no collector accepted the last data within {_FLUSH_SECONDS:g} s")
        for each in exporters:
            each.shutdown()


def _resource(service: str) -> "Resource":
    """Return the resource from the environment, with defaults for missing attributes.

    All API processes of a host, and all gateways of a cluster, report the same metrics, so each needs a
    unique instance id.
    """
    from opentelemetry.sdk.resources import Resource

    given = Resource({"service.instance.id": str(uuid.uuid4())}).merge(Resource.create())
    if not str(given.attributes["service.name"]).startswith("unknown_service"):
        return given
    return given.merge(Resource({"service.name": service}))


def _span_exporter(name: str) -> "Callable[[], SpanExporter]":
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter
    from jobworkerd.rpc_server.span_encoding import FastSpanExporter

    return FastSpanExporter


def _metric_exporter(name: str) -> "Callable[[], MetricExporter]":
    if name == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

        return ConsoleMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter
