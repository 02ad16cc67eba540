"""An agent and a server that are killed while a real control plane gives jobs to them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobworker.v1 import job_pb2
from jobworker_cluster import job_secrets
from tests.cluster import single_node
from tests.cluster.control_plane import ControlPlane
from tests.cluster.single_node import NAME, SECRETS, Node, without_apiserver


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return single_node.make_certificates(tmp_path_factory.mktemp("certs") / "certs")


@pytest.fixture
def node(control_plane: ControlPlane, certs: Path, tmp_path: Path) -> Iterator[Node]:
    with single_node.running(control_plane, certs, tmp_path) as node:
        yield node


def test_an_agent_that_is_killed_at_each_step_starts_each_job_once(node: Node) -> None:
    job_id = node.create("echo once; sleep 20")
    for event in ("pod bound", "job found", "job found"):
        node.kill_agent_after(event)
    node.reaches(job_id, job_pb2.JOB_STATUS_RUNNING)
    record = node.reaches(job_id, job_pb2.JOB_STATUS_COMPLETED)
    assert record.log_size == len("once\n")
    assert (record.node, record.attempt) == (NAME, 1)
    assert node.pod(job_id).phase == "Succeeded"


def test_a_job_goes_on_while_its_server_restarts(node: Node) -> None:
    job_id = node.create("sleep 5; exit 3")
    node.reaches(job_id, job_pb2.JOB_STATUS_RUNNING)
    node.server.supervisor.kill()
    assert node.reaches(job_id, job_pb2.JOB_STATUS_FAILED).exit_code == 3


def test_the_end_of_a_job_is_reported_when_kubernetes_is_back(
    node: Node, control_plane: ControlPlane
) -> None:
    job_id = node.create("sleep 2")
    started = node.reaches(job_id, job_pb2.JOB_STATUS_RUNNING)
    with without_apiserver(control_plane):
        node.kill_agent_after("lease not renewed")
        node.kill_agent_after("node not written")
    record = node.reaches(job_id, job_pb2.JOB_STATUS_COMPLETED)
    assert record.end_time.seconds - started.start_time.seconds in {2, 3}


def test_a_job_that_can_start_again_ends_with_the_lease(node: Node, control_plane: ControlPlane) -> None:
    fenced = node.create("sleep 600", retry_on_lost=True)
    other = node.create("sleep 30")
    node.reaches(fenced, job_pb2.JOB_STATUS_RUNNING)
    node.reaches(other, job_pb2.JOB_STATUS_RUNNING)
    with without_apiserver(control_plane):
        node.server.wait_for_event("lease ended")
    record = node.reaches(fenced, job_pb2.JOB_STATUS_STOPPED)
    assert record.termination.reason == job_pb2.TERMINATION_REASON_EVICTED
    assert node.reaches(other, job_pb2.JOB_STATUS_COMPLETED).exit_code == 0


def test_a_job_whose_pod_was_removed_and_created_again_does_not_run_again(node: Node) -> None:
    """No gateway has seen the removal, and the job is so young that the Pod can have been missing."""
    job_id = node.create("sleep 600")
    node.reaches(job_id, job_pb2.JOB_STATUS_RUNNING)
    node.remove_pod(job_id)
    node.create_pod(job_secrets.read(node.api.call("GET", f"{SECRETS}/job-{job_id}")))
    record = node.reaches(job_id, job_pb2.JOB_STATUS_LOST)
    assert "does not start again" in record.termination.message
