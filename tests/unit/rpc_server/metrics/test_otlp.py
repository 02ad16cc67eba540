"""The export of snapshots by the exporters of OpenTelemetry."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from api_server import Logged, eventually
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource

from jobworkerd.errors import SupervisorUnavailable
from jobworkerd.metrics.definitions import (
    JOB_DURATION,
    JOB_OOM_KILLS,
    QUEUE_LENGTH,
    READER_ACTIVE,
    RPC_DURATION,
)
from jobworkerd.metrics.instruments import Histogram, Sample, Snapshot, sample
from jobworkerd.rpc_server.metrics.otlp import MetricsExport, Snapshots, metrics_data

RESOURCE = Resource({"service.name": "jobworkerd", "service.instance.id": "one"})
API = Snapshot(3, (sample(READER_ACTIVE, 2), Sample(RPC_DURATION.name, 1.0, ("a", "OK"), (1,))))


def supervisor() -> Snapshot:
    durations = Histogram(JOB_DURATION)
    durations.record(2, "completed")
    durations.record(700, "failed")
    return Snapshot(7, (*durations.samples(), sample(JOB_OOM_KILLS, 4), sample(QUEUE_LENGTH, 5)))


def encoded(snapshots: Snapshots) -> list[Any]:
    """Return the messages per resource that a collector gets."""
    return list(encode_metrics(metrics_data(snapshots, RESOURCE)).resource_metrics)


def metrics_of(resource: Any) -> dict[str, Any]:
    return {metric.name: metric for metric in resource.scope_metrics[0].metrics}


def instance_of(resource: Any) -> str:
    found = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert found["service.name"] == "jobworkerd"
    return str(found["service.instance.id"])


def test_the_metrics_of_an_api_process() -> None:
    (resource,) = encoded((API, None))
    assert instance_of(resource) == "one"
    (metric,) = metrics_of(resource).values()  # the SDK exports the durations of RPCs
    assert (metric.name, metric.unit) == (READER_ACTIVE.name, "{reader}")
    assert [point.as_int for point in metric.gauge.data_points] == [2]


def test_the_metrics_of_the_supervisor() -> None:
    _, resource = encoded((API, supervisor()))
    metrics = metrics_of(resource)
    kills = metrics[JOB_OOM_KILLS.name].sum
    assert (kills.is_monotonic, kills.data_points[0].as_int) == (True, 4)
    assert kills.data_points[0].start_time_unix_nano == 7
    assert metrics[QUEUE_LENGTH.name].gauge.data_points[0].as_int == 5
    durations = metrics[JOB_DURATION.name].histogram
    assert durations.aggregation_temporality == kills.aggregation_temporality
    first, second = durations.data_points
    assert [(each.key, each.value.string_value) for each in second.attributes] == [("result", "failed")]
    assert (first.count, first.sum, tuple(first.explicit_bounds)) == (1, 2.0, JOB_DURATION.bounds)
    assert len(first.bucket_counts) == len(JOB_DURATION.bounds) + 1
    assert not first.HasField("min")


def test_the_supervisor_is_the_same_instance_whoever_exports_it() -> None:
    first = [instance_of(each) for each in encoded((API, supervisor()))]
    other = RESOURCE.merge(Resource({"service.instance.id": "two"}))
    second = encode_metrics(metrics_data((API, supervisor()), other)).resource_metrics
    assert [instance_of(each) for each in second] == ["two", first[1]]
    assert first[1] != "one"


class Exporter(MetricExporter):
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[MetricsData] = []
        self.ended = False

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002 - the SDK's signature
        **_: Any,
    ) -> MetricExportResult:
        self.received.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return bool(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        self.ended = bool(timeout_millis)


@contextlib.contextmanager
def exporting() -> Iterator[tuple[MetricsExport, Exporter]]:
    exporter = Exporter()
    export = MetricsExport([exporter], RESOURCE, 0.01)
    try:
        yield export, exporter
    finally:
        export.shutdown()
    assert exporter.ended


async def test_snapshots_are_exported_again_and_again() -> None:
    async def collect() -> Snapshots:
        return API, supervisor()

    with exporting() as (export, exporter):
        export.start(collect)
        await eventually(lambda: len(exporter.received) > 2)


async def test_a_bug_of_an_exporter_does_not_end_the_export(
    monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    async def collect() -> Snapshots:
        return API, None

    with exporting() as (export, exporter):
        working = exporter.export

        def fail(_: MetricsData) -> MetricExportResult:
            monkeypatch.setattr(exporter, "export", working)
            raise ZeroDivisionError

        monkeypatch.setattr(exporter, "export", fail)
        export.start(collect)
        await eventually(lambda: exporter.received)
    assert [line["event"] for line in logged] == ["metrics not exported"]


async def test_a_supervisor_that_does_not_answer_delays_the_export_only() -> None:
    answers = [True, False, True]

    async def collect() -> Snapshots:
        await asyncio.sleep(0)
        if not answers or answers.pop():
            return API, None
        raise SupervisorUnavailable

    with exporting() as (export, exporter):
        export.start(collect)
        await eventually(lambda: not answers and len(exporter.received) > 2)
