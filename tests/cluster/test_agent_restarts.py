"""An agent and a server that are killed while a real control plane gives jobs to them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import live
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cluster import job_secrets, pods
from jobworker_cluster.job_secrets import JobSecret
from jobworker_cluster.pods import JobPod, PodPlan
from jobworkerd.job_id import JobIds
from live import Server
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kube_api import MERGE, ApiError, KubeApi, wait_until_ready
from tests.cluster.service import Service

BIN = Path(sys.executable).parent
NAME = "node-r"
OWNER = "CN=alice,OU=Admin"
PODS = "/api/v1/namespaces/jobworker/pods"
SECRETS = "/api/v1/namespaces/jobworker/secrets"


@dataclass
class Node:
    """A host with a server and an agent."""

    api: KubeApi
    server: Server
    agent: Service

    def create(self, script: str, *, retry_on_lost: bool = False) -> str:
        """Create the objects of a job as a gateway does, and return the id of the job."""
        job_id = JobIds().new()
        job = job_pb2.Job(id=job_id, owner=OWNER, command="sh", max_cpu=50, max_memory=32)
        job.create_time.GetCurrentTime()
        request = job_service_pb2.CreateJobRequest(
            command="sh", args=["-c", script], max_cpu=50, max_memory=32, retry_on_lost=retry_on_lost
        )
        secret = self.api.call("POST", SECRETS, job_secrets.build(f"job-{job_id}", job, request, ""))
        self.create_pod(job_secrets.read(secret))
        return job_id

    def create_pod(self, secret: JobSecret) -> None:
        """Create the Pod of the first attempt of a job."""
        plan = PodPlan(secret, 1, "test", "jobworker-normal", {"kubernetes.io/hostname": NAME})
        self.api.call("POST", PODS, pods.build(plan))

    def remove_pod(self, job_id: str) -> None:
        """Remove the Pod of a job and its finalizer, as an administrator can do by hand."""
        path = f"{PODS}/job-{job_id}"
        self.api.call("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
        _delete(self.api, path)

    def pod(self, job_id: str) -> JobPod:
        """Return the Pod of a job."""
        return pods.read(self.api.call("GET", f"{PODS}/job-{job_id}"))

    def reaches(self, job_id: str, status: job_pb2.JobStatus.ValueType) -> job_pb2.Job:
        """Wait until the record in the Pod has a status, and return it."""

        def record() -> job_pb2.Job | None:
            try:
                found = self.pod(job_id).record
            except OSError:  # the apiserver starts
                return None
            return found if found and found.status == status else None

        return live.until(record, 60)

    def kill_agent_after(self, event: str) -> None:
        """Kill the agent as soon as it has logged an event since its last start."""
        starts = self.agent.starts
        live.until(lambda: event in self.agent.log.read_text().split("agent started")[-1], 60)
        self.agent.kill()
        live.until(lambda: self.agent.starts > starts, 30)

    def clean_up(self) -> None:
        """Remove all jobs from the cluster."""
        for pod in self.api.items(PODS):
            self.remove_pod(pod["metadata"]["name"].removeprefix("job-"))
        for secret in self.api.items(SECRETS):
            _delete(self.api, f"{SECRETS}/{secret['metadata']['name']}")


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = live.make_certificates(BIN, tmp_path_factory.mktemp("certs") / "certs")
    argv: list[str | Path] = [BIN / "jobworkerd", "certs", "issue", "gateway", "--role", "gateway"]
    subprocess.run([*argv, "--dir", directory], check=True, capture_output=True)
    return directory


@pytest.fixture
def node(control_plane: ControlPlane, certs: Path, tmp_path: Path) -> Iterator[Node]:
    with Server.started(BIN, certs, tmp_path, "--logging-format", "json") as server:
        kubeconfig = control_plane.kubeconfig(f"system:node:{NAME}", "system:nodes")
        settings = {
            "JOBWORKER_AGENT_NODE": NAME,
            # The tests also run where cgroup v2 has no controllers.
            "JOBWORKER_AGENT_LIMITS_POLICY": "best_effort",
            "JOBWORKER_AGENT_SERVER": server.address,
            "JOBWORKER_AGENT_ADDRESS": "192.0.2.1:50051",
            "JOBWORKER_AGENT_CERTS_DIR": str(certs),
            "JOBWORKER_AGENT_KUBECONFIG": str(kubeconfig),
        }
        agent = Service("agent", [BIN / "jobworker-agent"], tmp_path / "agent.log", settings)
        node = Node(control_plane.api(), server, agent)
        agent.start()
        try:
            yield node
        finally:
            agent.stop()
            node.clean_up()
            _delete(node.api, f"/api/v1/nodes/{NAME}")


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
    with _without_apiserver(control_plane):
        node.kill_agent_after("lease not renewed")
        node.kill_agent_after("node not written")
    record = node.reaches(job_id, job_pb2.JOB_STATUS_COMPLETED)
    assert record.end_time.seconds - started.start_time.seconds in {2, 3}


def test_a_job_that_can_start_again_ends_with_the_lease(node: Node, control_plane: ControlPlane) -> None:
    fenced = node.create("sleep 600", retry_on_lost=True)
    other = node.create("sleep 30")
    node.reaches(fenced, job_pb2.JOB_STATUS_RUNNING)
    node.reaches(other, job_pb2.JOB_STATUS_RUNNING)
    with _without_apiserver(control_plane):
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


@contextmanager
def _without_apiserver(control_plane: ControlPlane) -> Iterator[None]:
    [apiserver] = control_plane.apiservers
    apiserver.hold()
    try:
        yield
    finally:
        apiserver.release()
        wait_until_ready(control_plane.api())


def _delete(api: KubeApi, path: str) -> None:
    try:
        api.call("DELETE", path, {"gracePeriodSeconds": 0})
    except ApiError as error:
        if error.status != 404:
            raise
