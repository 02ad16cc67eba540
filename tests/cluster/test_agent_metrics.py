"""The metrics of a real agent, scraped by a real Prometheus."""

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus import Prometheus, promtool

from jobworker.v1 import job_pb2
from live import until
from tests.cluster import single_node
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kube_api import MERGE
from tests.cluster.single_node import NAME, Node, without_apiserver

ROOT = Path(__file__).parents[2]
NODE = f"/api/v1/nodes/{NAME}"


@dataclass(frozen=True)
class Scraped:
    """A node, and the Prometheus that scrapes its agent at `target`."""

    node: Node
    prometheus: Prometheus
    target: str

    def becomes(self, condition: str) -> None:
        """Wait until an expression with a condition has a series."""
        until(lambda: self.prometheus.query(condition), 120)

    def text(self) -> str:
        """Return the metrics of a new scrape."""
        with urllib.request.urlopen(f"http://{self.target}/metrics", timeout=30) as response:
            body: bytes = response.read()
        return body.decode()


def _target(log: Path) -> str:
    """Return the address of the endpoint, which the agent logs when it has started."""

    def find() -> str | None:
        complete, _, _ = log.read_text().rpartition("\n")
        events = (json.loads(line) for line in complete.splitlines() if line.startswith("{"))
        return next((str(each["metrics"]) for each in events if each["event"] == "agent started"), None)

    return until(find, 60)


@pytest.fixture(scope="module")
def scraped(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """An agent with an endpoint on a free port."""
    certs = single_node.make_certificates(tmp_path_factory.mktemp("certs") / "certs")
    listen = {"JOBWORKER_AGENT_METRICS_LISTEN": "127.0.0.1:0"}
    with single_node.running(control_plane, certs, tmp_path_factory.mktemp("node"), **listen) as node:
        target = _target(node.agent.log)
        with Prometheus.started(target, tmp_path_factory.mktemp("prometheus")) as prometheus:
            until(lambda: prometheus.query("up == 1"), 60)
            yield Scraped(node, prometheus, target)


def test_the_endpoint_passes_promtool(scraped: Scraped) -> None:
    promtool("check", "metrics", text=scraped.text())


def test_the_state_of_the_node(scraped: Scraped) -> None:
    scraped.becomes("jobworker_agent_node_ready == 1")
    scraped.becomes("jobworker_agent_lease_held == 1")
    scraped.becomes('jobworker_agent_lease_renewals_total{result="success"} > 1')
    scraped.becomes("jobworker_agent_lease_age_seconds < 15")
    scraped.becomes('jobworker_agent_node_checks_total{result="success"} > 1')
    scraped.becomes('process_memory_usage_bytes{process="agent"} > 1e6')
    for cordoned in (True, False):
        scraped.node.api.call("PATCH", NODE, {"spec": {"unschedulable": cordoned}}, MERGE)
        scraped.becomes(f"jobworker_agent_node_cordoned == {int(cordoned)}")


def test_the_certificates_of_the_agent(scraped: Scraped) -> None:
    found = scraped.prometheus.values("jobworker_certificate_expiry_seconds", "certificate")
    assert found.keys() == {"gateway", "kubeconfig"}
    assert all(expiry > time.time() for expiry in found.values())


def test_the_jobs_and_the_calls_for_them(scraped: Scraped) -> None:
    job_id = scraped.node.create("sleep 20")
    scraped.becomes('jobworker_agent_pods{state="running"} == 1')
    scraped.node.reaches(job_id, job_pb2.JOB_STATUS_COMPLETED)
    scraped.becomes('jobworker_agent_pods{state="reported"} == 1')
    scraped.becomes('jobworker_agent_job_steps_total{step="start",result="success"} >= 1')
    scraped.becomes('jobworker_agent_job_steps_total{step="report",result="success"} >= 2')
    scraped.becomes('jobworker_agent_kubernetes_calls_total{method="PATCH",code="200"} > 2')
    scraped.node.remove_pod(job_id)
    scraped.becomes('jobworker_agent_pods{state="reported"} == 0')


def test_a_result_that_is_not_reported_while_kubernetes_is_away(
    scraped: Scraped, control_plane: ControlPlane
) -> None:
    job_id = scraped.node.create("sleep 10")
    scraped.node.reaches(job_id, job_pb2.JOB_STATUS_RUNNING)
    with without_apiserver(control_plane):
        scraped.becomes('jobworker_agent_pods{state="unreported"} == 1')
        scraped.becomes("jobworker_agent_lease_held == 0")
        scraped.becomes("jobworker_agent_lease_age_seconds > 15")
        scraped.becomes('jobworker_agent_lease_renewals_total{result="kubernetes_error"} > 1')
        scraped.becomes('jobworker_agent_job_steps_total{step="report",result="delayed"} > 1')
        scraped.becomes('jobworker_agent_node_checks_total{result="error"} > 1')
        scraped.becomes('sum(jobworker_agent_kubernetes_calls_total{code="0"}) > 2')
    scraped.becomes('jobworker_agent_pods{state="unreported"} == 0')
    scraped.becomes("jobworker_agent_lease_held == 1")


def test_the_alert_rules(scraped: Scraped) -> None:
    """A rule with a metric that was renamed would never fire."""
    directory = ROOT / "packaging/prometheus"
    promtool("check", "rules", directory / "agent-alerts.yml")
    promtool("test", "rules", directory / "agent-alerts_test.yml")
    used = set(re.findall(r"\bjobworker_agent_\w+", (directory / "agent-alerts.yml").read_text()))
    names = set(re.findall(r"^\w+", scraped.text(), flags=re.MULTILINE))
    assert used
    assert used - names == set()
