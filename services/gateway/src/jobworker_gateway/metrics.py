"""The metrics of a gateway, on a Prometheus endpoint or for a collector, as those of a host."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

from jobworker.v1 import job_pb2
from jobworker_gateway.engine import Engine
from jobworkerd.metrics import process_usage
from jobworkerd.metrics.definitions import (
    CERTIFICATE_EXPIRY,
    CLUSTER_NODES,
    JOB_ACTIVE,
    QUEUE_LENGTH,
    RPC_DURATION,
)
from jobworkerd.metrics.instruments import Histogram, Sample, Snapshot, sample
from jobworkerd.model import JobStatus
from jobworkerd.rpc_server.metrics import text_format
from jobworkerd.rpc_server.metrics.http import Response
from jobworkerd.rpc_server.metrics.merge import merge


class GatewayMetrics:
    """The jobs and nodes that a gateway sees, and what the gateway itself does."""

    def __init__(self, engine: Engine, expiries: Callable[[], Mapping[str, float]]) -> None:
        """`expiries` returns when each certificate in use expires, in seconds since the epoch."""
        self.rpc_durations = Histogram(RPC_DURATION)
        self._engine = engine
        self._expiries = expiries
        self._start_time_ns = time.time_ns()

    async def report(self, accept: str) -> Response:
        """Return the metrics in the form that the Accept header of a scrape asks for."""
        form = text_format.content_type(accept)
        return Response(HTTPStatus.OK, text_format.render(merge(self._snapshot(), ()), form), form)

    async def for_export(self) -> tuple[Snapshot, None]:
        """Return the metrics as those of a process without a supervisor."""
        return self._snapshot(), None

    def _snapshot(self) -> Snapshot:
        return Snapshot(self._start_time_ns, tuple(self._samples()))

    def _samples(self) -> Iterator[Sample]:
        jobs = self._engine.jobs.by_status()
        for status in (JobStatus.INITIALIZING, JobStatus.RUNNING):
            number = job_pb2.JobStatus.Value(f"JOB_STATUS_{status.name}")
            yield sample(JOB_ACTIVE, jobs[number], status.value)
        yield sample(QUEUE_LENGTH, jobs[job_pb2.JOB_STATUS_QUEUED])
        nodes = Counter(node.ready for node in self._engine.nodes.values())
        yield sample(CLUSTER_NODES, nodes[True], "true")
        yield sample(CLUSTER_NODES, nodes[False], "false")
        yield from self.rpc_durations.samples()
        for certificate, expiry in self._expiries().items():
            yield sample(CERTIFICATE_EXPIRY, expiry, certificate)
        yield from process_usage.samples("gateway")
