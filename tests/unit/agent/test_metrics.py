"""The metrics of the agent."""

import asyncio
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from jobworker_agent.lease import NodeLease, RenewalResult
from jobworker_agent.metrics.agent_metrics import AgentMetrics, NodeParts
from jobworker_agent.metrics.definitions import ALL, Kind, Metric
from jobworker_agent.metrics.text_format import render
from jobworker_agent.node import HostWatch, NodeKeeper
from jobworker_agent.node_object import NodeIdentity, SystemInfo
from jobworker_agent.orphans import Orphans
from jobworker_agent.pod_run import PodRun, StepResult
from jobworker_agent.pod_runs import PodRuns
from jobworker_agent.steps import STEP_NAMES
from jobworker_cluster.pods import JobPod
from tests.unit.agent.fakes import FakeCluster, FakeHost

ROOT = Path(__file__).parents[3]
DOCUMENTATION = (ROOT / "docs/observability.md").read_text().splitlines()


def _metrics(tasks: asyncio.TaskGroup) -> AgentMetrics:
    """Return the metrics of an agent that has renewed its lease twice, and made some calls and steps."""
    host, cluster = FakeHost(), FakeCluster()
    lease = NodeLease(cluster, host, lambda: "uid", lambda: None, lambda: 1_000.0)
    lease.results[RenewalResult.SUCCESS] += 2
    node = NodeKeeper(
        NodeIdentity("n", "192.0.2.1:1", {}), SystemInfo("", "", ""), cluster, HostWatch(host), time.monotonic
    )
    orphans = Orphans(host, lambda: None)
    runs = PodRuns(_no_pod, tasks, lambda: None)
    steps = Counter({("report", StepResult.DELAYED): 3})
    calls = Counter({("PATCH", 200): 5, ("GET", 0): 1})
    return AgentMetrics(NodeParts(lease, node, runs, orphans, steps), calls, lambda: {"gateway": 1.5})


def _no_pod(pod: JobPod) -> PodRun:
    raise AssertionError(pod)


async def _lines() -> list[str]:
    async with asyncio.TaskGroup() as tasks:
        return _metrics(tasks).render().splitlines()


async def test_a_scrape_has_the_state_and_the_counters_of_the_agent() -> None:
    assert {
        'jobworker_agent_lease_renewals_total{result="success"} 2',
        'jobworker_agent_lease_renewals_total{result="kubernetes_error"} 0',
        "jobworker_agent_lease_age_seconds 0.0",
        "jobworker_agent_lease_held 0",
        'jobworker_agent_node_checks_total{result="error"} 0',
        "jobworker_agent_node_ready 0",
        "jobworker_agent_node_cordoned 0",
        'jobworker_agent_pods{state="unreported"} 0',
        'jobworker_agent_job_steps_total{step="report",result="delayed"} 3',
        "jobworker_agent_orphans_stopped_total 0",
        'jobworker_agent_kubernetes_calls_total{method="GET",code="0"} 1',
        'jobworker_agent_kubernetes_calls_total{method="PATCH",code="200"} 5',
        'jobworker_certificate_expiry_seconds{certificate="gateway"} 1.5',
    } <= {*await _lines()}


async def test_a_scrape_has_all_metrics_in_the_order_of_their_definitions() -> None:
    names = [line.split()[2] for line in await _lines() if line.startswith("# TYPE")]
    assert names == [metric.name for metric in ALL]


async def test_counters_of_steps_exist_before_the_first_step() -> None:
    """An alert that compares an increase with 0 would never fire without the series."""
    steps = [line for line in await _lines() if line.startswith("jobworker_agent_job_steps_total{")]
    assert len(steps) == len(STEP_NAMES) * len(StepResult)


def test_labels_are_quoted() -> None:
    metric = Metric("a", Kind.GAUGE, "A metric.", ("b",))
    assert render({metric: {('"\\\n',): 1}}).splitlines()[-1] == r'a{b="\"\\\n"} 1'


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_the_documentation_has_the_row(metric: Metric) -> None:
    labels = ", ".join(f"`{each}`" for each in metric.labels)
    row = f"| `{metric.name}` | {metric.kind} | {labels} | {metric.description} |".replace("|  |", "| |")
    assert row in DOCUMENTATION


def test_the_documentation_has_no_other_metric_of_the_agent() -> None:
    rows = [line for line in DOCUMENTATION if re.match(r"\| `(jobworker|process)_\w+` \|", line)]
    assert len(rows) == len(ALL)
