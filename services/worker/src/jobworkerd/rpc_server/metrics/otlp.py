"""Exports the metrics of this process and of its supervisor with the exporters of OpenTelemetry.

Imported only with an exporter. The SDK exports the durations of RPCs itself. It cannot export a histogram
that another process has filled, so this module makes the data of both processes from their snapshots.
"""

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import groupby

import msgspec
import structlog
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.metrics.export import Metric as MetricData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from jobworkerd.errors import JobWorkerError
from jobworkerd.metrics.definitions import BY_NAME, RPC_DURATION, Kind, Metric
from jobworkerd.metrics.instruments import Sample, Snapshot
from jobworkerd.protocol.replies import SupervisorFault

_SCOPE = InstrumentationScope("jobworkerd")
_CUMULATIVE = AggregationTemporality.CUMULATIVE

_COLLECT_SECONDS = 5.0
"""Maximum wait for the supervisor. After that the next export has its metrics."""


Snapshots = tuple[Snapshot, Snapshot | None]
"""The snapshots of this process and of the supervisor.

The second one is None if another process exports it, and at a gateway, which has no supervisor.
"""

Collect = Callable[[], Coroutine[None, None, Snapshots]]


class MetricsExport:
    """Exports snapshots in a thread, because exporters block until the collector has answered."""

    def __init__(self, exporters: Sequence[MetricExporter], resource: Resource, interval: float) -> None:
        """`interval` is in seconds."""
        self._exporters = exporters
        self._resource = resource
        self._interval = interval
        self._ended = threading.Event()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def start(self, collect: Collect) -> None:
        """Export from now on what `collect` returns in the running loop."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(loop, collect), name="metrics-export", daemon=True).start()

    def shutdown(self) -> None:
        """End the exports."""
        self._ended.set()
        for each in self._exporters:
            each.shutdown()

    def _run(self, loop: asyncio.AbstractEventLoop, collect: Collect) -> None:
        while not self._ended.wait(self._interval):
            if snapshots := _collected(loop, collect):
                self._export(snapshots)

    def _export(self, snapshots: Snapshots) -> None:
        try:
            data = metrics_data(snapshots, self._resource)
            for each in self._exporters:
                each.export(data)
        except Exception:  # noqa: BLE001 - a bug of an exporter must not end the thread
            self._log.exception("metrics not exported")


def _collected(loop: asyncio.AbstractEventLoop, collect: Collect) -> Snapshots | None:
    if not loop.is_running():
        return None
    pending = asyncio.run_coroutine_threadsafe(collect(), loop)
    try:
        return pending.result(_COLLECT_SECONDS)
    except (TimeoutError, CancelledError, JobWorkerError, SupervisorFault, msgspec.DecodeError):
        pending.cancel()  # the supervisor restarts or does not answer
        return None


def metrics_data(snapshots: Snapshots, resource: Resource) -> MetricsData:
    """Return the data of both snapshots. The supervisor is an instance of the service, too."""
    own_process, supervisor = snapshots
    found = [_resource_metrics(own_process, resource, {RPC_DURATION.name})]
    if supervisor:
        # The same id whichever API process exports it.
        instance = str(uuid.uuid5(uuid.NAMESPACE_OID, str(supervisor.start_time_ns)))
        own = resource.merge(Resource({"service.instance.id": instance}))
        found.append(_resource_metrics(supervisor, own, set()))
    return MetricsData(found)


def _resource_metrics(snapshot: Snapshot, resource: Resource, left_out: set[str]) -> ResourceMetrics:
    now = time.time_ns()
    metrics = [
        MetricData(metric.name, metric.description, metric.unit, _data(metric, samples, snapshot, now))
        for metric, samples in _by_metric(snapshot.samples)
        if metric.name not in left_out
    ]
    return ResourceMetrics(resource, [ScopeMetrics(_SCOPE, metrics, "")], "")


def _by_metric(samples: Iterable[Sample]) -> Iterator[tuple[Metric, list[Sample]]]:
    """Group samples. Those of one metric are next to each other."""
    for name, found in groupby(samples, lambda each: each.metric):
        if metric := BY_NAME.get(name):
            yield metric, list(found)


def _data(
    metric: Metric, samples: Sequence[Sample], snapshot: Snapshot, now: int
) -> Gauge | Sum | HistogramData:
    start = snapshot.start_time_ns
    if metric.kind is Kind.HISTOGRAM:
        return HistogramData([_distribution(metric, each, start, now) for each in samples], _CUMULATIVE)
    points = [NumberDataPoint(_attributes(metric, each), start, now, each.value) for each in samples]
    return Gauge(points) if metric.kind is Kind.GAUGE else Sum(points, _CUMULATIVE, is_monotonic=True)


def _distribution(metric: Metric, sample: Sample, start: int, now: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        _attributes(metric, sample),
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=sum(sample.counts),
        sum=sample.value,
        bucket_counts=sample.counts,
        explicit_bounds=metric.bounds,
        min=None,  # type: ignore[arg-type]  # optional in OTLP, and unknown
        max=None,  # type: ignore[arg-type]
    )


def _attributes(metric: Metric, sample: Sample) -> dict[str, str]:
    return dict(zip(metric.attributes, sample.attributes, strict=True))
