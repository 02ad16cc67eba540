"""One host with jobworkerd and jobworker-agent, at a real control plane and without a gateway."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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

NAME = "node-r"
SECRETS = "/api/v1/namespaces/jobworker/secrets"

_BIN = Path(sys.executable).parent
_OWNER = "CN=alice,OU=Admin"
_PODS = "/api/v1/namespaces/jobworker/pods"


@dataclass
class Node:
    """A host with a server and an agent."""

    api: KubeApi
    server: Server
    agent: Service

    def create(self, script: str, *, retry_on_lost: bool = False) -> str:
        """Create the objects of a job as a gateway does, and return the id of the job."""
        job_id = JobIds().new()
        job = job_pb2.Job(id=job_id, owner=_OWNER, command="sh", max_cpu=50, max_memory=32)
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
        self.api.call("POST", _PODS, pods.build(plan))

    def remove_pod(self, job_id: str) -> None:
        """Remove the Pod of a job and its finalizer, as an administrator can do by hand."""
        path = f"{_PODS}/job-{job_id}"
        self.api.call("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
        _delete(self.api, path)

    def pod(self, job_id: str) -> JobPod:
        """Return the Pod of a job."""
        return pods.read(self.api.call("GET", f"{_PODS}/job-{job_id}"))

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
        for pod in self.api.items(_PODS):
            self.remove_pod(pod["metadata"]["name"].removeprefix("job-"))
        for secret in self.api.items(SECRETS):
            _delete(self.api, f"{SECRETS}/{secret['metadata']['name']}")


def make_certificates(directory: Path) -> Path:
    """Make the certificates of the server, of the agent and of clients in a new directory."""
    live.make_certificates(_BIN, directory)
    argv: list[str | Path] = [_BIN / "jobworkerd", "certs", "issue", "gateway", "--role", "gateway"]
    subprocess.run([*argv, "--dir", directory], check=True, capture_output=True)
    return directory


@contextmanager
def running(control_plane: ControlPlane, certs: Path, directory: Path, **more: str) -> Iterator[Node]:
    """Start the server, and the agent with some more variables, and remove the node at the end."""
    with Server.started(_BIN, certs, directory, "--logging-format", "json") as server:
        kubeconfig = control_plane.kubeconfig(f"system:node:{NAME}", "system:nodes")
        settings = {
            "JOBWORKER_AGENT_NODE": NAME,
            # The tests also run where cgroup v2 has no controllers.
            "JOBWORKER_AGENT_LIMITS_POLICY": "best_effort",
            "JOBWORKER_AGENT_SERVER": server.address,
            "JOBWORKER_AGENT_ADDRESS": "192.0.2.1:50051",
            "JOBWORKER_AGENT_CERTS_DIR": str(certs),
            "JOBWORKER_AGENT_KUBECONFIG": str(kubeconfig),
            **more,
        }
        agent = Service("agent", [_BIN / "jobworker-agent"], directory / "agent.log", settings)
        node = Node(control_plane.api(), server, agent)
        agent.start()
        try:
            yield node
        finally:
            agent.stop()
            node.clean_up()
            _delete(node.api, f"/api/v1/nodes/{NAME}")


@contextmanager
def without_apiserver(control_plane: ControlPlane) -> Iterator[None]:
    """Kill the apiserver, and let it start again at the end."""
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
