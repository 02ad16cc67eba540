"""A receiver of metrics: the metrics service of an OpenTelemetry collector, which keeps what it gets."""

import contextlib
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc


@dataclass(frozen=True)
class ReceivedMetric:
    """A metric, and the process that it belongs to."""

    name: str
    instance: str


class OtlpMetricsReceiver(metrics_service_pb2_grpc.MetricsServiceServicer):
    """The metrics that have arrived at a port of 127.0.0.1, in the order of their arrival."""

    def __init__(self) -> None:
        self.port = 0
        self.metrics: list[ReceivedMetric] = []

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator["OtlpMetricsReceiver"]:
        """Listen on a free port until the end of the context."""
        receiver = cls()
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        add = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server
        add(receiver, server)  # type: ignore[no-untyped-call]  # generated
        receiver.port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield receiver
        finally:
            server.stop(grace=None).wait()

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that exports its metrics to this receiver ten times per second."""
        return {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
        }

    def Export(  # noqa: N802 - the name of the RPC
        self,
        request: metrics_service_pb2.ExportMetricsServiceRequest,
        context: grpc.ServicerContext,  # noqa: ARG002 - gRPC's signature
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        """Keep the metrics of a request."""
        for of_resource in request.resource_metrics:
            attributes = {each.key: each.value.string_value for each in of_resource.resource.attributes}
            instance = attributes["service.instance.id"]
            names = [metric.name for scope in of_resource.scope_metrics for metric in scope.metrics]
            self.metrics += [ReceivedMetric(name, instance) for name in names]
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def instances(self, name: str, since: int = 0) -> set[str]:
        """Return the processes from which a metric has arrived after the first `since` metrics."""
        return {each.instance for each in self.metrics[since:] if each.name == name}
