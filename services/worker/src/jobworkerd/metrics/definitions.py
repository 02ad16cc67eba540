"""All metrics of a server or a gateway, in the order of the Prometheus endpoint.

Names and units follow OpenTelemetry. A test compares the table in docs/observability.md with this module.
"""

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """The kinds of metrics, with their names in Prometheus' text form."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One metric. `attributes` are the names of its attributes, `bounds` the upper bounds of its buckets.

    `unit` is a UCUM code: `s`, `By`, or an annotation such as `{job}`.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


JOB_ACTIVE = Metric(
    "jobworker.job.active",
    Kind.GAUGE,
    "{job}",
    "Jobs that start or run. Jobs in the queue are not among them.",
    ("state",),
)
JOB_START_DURATION = Metric(
    "jobworker.job.start.duration",
    Kind.HISTOGRAM,
    "s",
    "Time from the start of a job until its command runs. The time in the queue is not part of it.",
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
JOB_DURATION = Metric(
    "jobworker.job.duration",
    Kind.HISTOGRAM,
    "s",
    "Time from the start of a job's command to the end of the job, by its final status.",
    ("result",),
    (0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 14_400, 86_400),
)
JOB_OOM_KILLS = Metric(
    "jobworker.job.oom_kills",
    Kind.COUNTER,
    "{process}",
    "Processes of ended jobs that the kernel killed for lack of memory.",
)
QUEUE_LENGTH = Metric("jobworker.queue.length", Kind.GAUGE, "{job}", "Jobs in the queue.")
LOG_WRITTEN = Metric("jobworker.log.written", Kind.COUNTER, "By", "Output of jobs that was stored.")
LOG_LOST = Metric(
    "jobworker.log.lost", Kind.COUNTER, "By", "Output of jobs that was lost because the disk refused it."
)
READER_ACTIVE = Metric("jobworker.reader.active", Kind.GAUGE, "{reader}", "Clients that stream a log.")
READER_STALLS = Metric(
    "jobworker.reader.stalls",
    Kind.COUNTER,
    "{reader}",
    "Readers that were cut off because they took no output during log.stall_timeout.",
)
CERTIFICATE_EXPIRY = Metric(
    "jobworker.certificate.expiry",
    Kind.GAUGE,
    "s",
    "Time at which a certificate in use expires, in seconds since 1970-01-01T00:00:00Z.",
    ("certificate",),
)
API_PROCESS_UP = Metric(
    "jobworker.api_process.up",
    Kind.GAUGE,
    "{process}",
    "1 if the API process has answered this scrape, 0 if its metrics are missing.",
)
CLUSTER_NODES = Metric(
    "jobworker.cluster.nodes", Kind.GAUGE, "{node}", "Nodes of the cluster, at a gateway.", ("ready",)
)
DISK_AVAILABLE = Metric(
    "jobworker.disk.available",
    Kind.GAUGE,
    "By",
    "Space that the server can use on the file system of the logs and records.",
)
DISK_SIZE = Metric(
    "jobworker.disk.size", Kind.GAUGE, "By", "Size of the file system of the logs and records."
)
RPC_DURATION = Metric(
    "rpc.server.call.duration",
    Kind.HISTOGRAM,
    "s",
    "Duration of incoming RPCs. A stream is one RPC.",
    ("rpc.method", "rpc.response.status_code"),
    (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
)
PROCESS_CPU_TIME = Metric(
    "process.cpu.time", Kind.COUNTER, "s", "CPU time of a process of the server.", ("process",)
)
PROCESS_MEMORY = Metric(
    "process.memory.usage", Kind.GAUGE, "By", "Resident memory of a process of the server.", ("process",)
)

ALL: tuple[Metric, ...] = (
    JOB_ACTIVE,
    JOB_START_DURATION,
    JOB_DURATION,
    JOB_OOM_KILLS,
    QUEUE_LENGTH,
    LOG_WRITTEN,
    LOG_LOST,
    READER_ACTIVE,
    READER_STALLS,
    CERTIFICATE_EXPIRY,
    API_PROCESS_UP,
    CLUSTER_NODES,
    DISK_AVAILABLE,
    DISK_SIZE,
    RPC_DURATION,
    PROCESS_CPU_TIME,
    PROCESS_MEMORY,
)

BY_NAME = {metric.name: metric for metric in ALL}
