"""All metrics of the agent, in the order of its endpoint. docs/observability.md has the same table."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of metrics, with their names in Prometheus' text form."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True)
class Metric:
    """One metric, with its name in Prometheus. `labels` are the names of its labels."""

    name: str
    kind: Kind
    description: str
    labels: tuple[str, ...] = ()


LEASE_RENEWALS = Metric(
    "jobworker_agent_lease_renewals_total",
    Kind.COUNTER,
    "Renewals of the lease of the node, by result.",
    ("result",),
)
LEASE_AGE = Metric(
    "jobworker_agent_lease_age_seconds",
    Kind.GAUGE,
    "Time since Kubernetes accepted the last renewal of the lease; since the start of the agent before that.",
)
LEASE_HELD = Metric(
    "jobworker_agent_lease_held",
    Kind.GAUGE,
    "1 while the lease of the node is valid, 0 while it is not: no job starts then.",
)
NODE_CHECKS = Metric(
    "jobworker_agent_node_checks_total",
    Kind.COUNTER,
    "Comparisons of the Node with the host, by result.",
    ("result",),
)
NODE_READY = Metric(
    "jobworker_agent_node_ready",
    Kind.GAUGE,
    "1 if the agent has reported the Node as ready, 0 if not.",
)
NODE_CORDONED = Metric(
    "jobworker_agent_node_cordoned",
    Kind.GAUGE,
    "1 if the Node is cordoned, so that it gets no new jobs, 0 if not.",
)
PODS = Metric(
    "jobworker_agent_pods",
    Kind.GAUGE,
    "Pods of the node, by the state of their jobs.",
    ("state",),
)
JOB_STEPS = Metric(
    "jobworker_agent_job_steps_total",
    Kind.COUNTER,
    "Steps in the life of jobs, by result. The agent repeats a step that was delayed or failed.",
    ("step", "result"),
)
ORPHANS_STOPPED = Metric(
    "jobworker_agent_orphans_stopped_total",
    Kind.COUNTER,
    "Jobs that the agent stopped because the cluster had given them up.",
)
KUBERNETES_CALLS = Metric(
    "jobworker_agent_kubernetes_calls_total",
    Kind.COUNTER,
    "Calls to the API server, by HTTP method and status. The code is 0 without an answer.",
    ("method", "code"),
)
CERTIFICATE_EXPIRY = Metric(
    "jobworker_certificate_expiry_seconds",
    Kind.GAUGE,
    "Time at which a certificate in use expires, in seconds since 1970-01-01T00:00:00Z.",
    ("certificate",),
)
PROCESS_CPU_TIME = Metric(
    "process_cpu_time_seconds_total", Kind.COUNTER, "CPU time of the agent.", ("process",)
)
PROCESS_MEMORY = Metric(
    "process_memory_usage_bytes", Kind.GAUGE, "Resident memory of the agent.", ("process",)
)

ALL: tuple[Metric, ...] = (
    LEASE_RENEWALS,
    LEASE_AGE,
    LEASE_HELD,
    NODE_CHECKS,
    NODE_READY,
    NODE_CORDONED,
    PODS,
    JOB_STEPS,
    ORPHANS_STOPPED,
    KUBERNETES_CALLS,
    CERTIFICATE_EXPIRY,
    PROCESS_CPU_TIME,
    PROCESS_MEMORY,
)
