"""The agent and a real control plane, with the certificate of a node. The host is a fake."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, tzinfo
from typing import Any

import pytest

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_agent import kube_lease
from jobworker_agent.agent import run
from jobworker_agent.cluster import Cluster, SecretRefused
from jobworker_agent.host_errors import HostUnavailable
from jobworker_agent.kube_cluster import connect
from jobworker_agent.node_object import NodeIdentity
from jobworker_cluster import names, pods
from tests.cluster import packaged
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kube_api import MERGE, ApiError, KubeApi
from tests.unit.agent.fakes import ID, OWNER, FakeHost

PODS = "/api/v1/namespaces/jobworker/pods"
POD = f"{PODS}/job-{ID}"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
SECRETS = "/api/v1/namespaces/jobworker/secrets"


class Node:
    """A node with its agent, and the job that the scheduler gives to it."""

    agent: "asyncio.Task[None]"

    def __init__(self, name: str, api: KubeApi, cluster: Cluster) -> None:
        self.name = name
        self.api = api
        self.cluster = cluster
        self.host = FakeHost()

    def create_job(self, priority_class: str = "jobworker-normal", cpu: str = "4") -> None:
        """Create the objects of a job as a gateway does."""
        spec = job_service_pb2.CreateJobRequest(command="true").SerializeToString()
        self._create(SECRETS, {"metadata": {"name": f"job-{ID}"}, "data": {"spec": _base64(spec)}})
        job = job_pb2.Job(id=ID, command="true", owner=OWNER).SerializeToString()
        annotations = {"job": _base64(job), "owner": OWNER, "attempt": "1"}
        metadata = {
            "name": f"job-{ID}",
            "labels": {names.JOB: "true", names.OWNER: names.owner_label(OWNER)},
            "annotations": {f"jobworker.dev/{key}": value for key, value in annotations.items()},
            "finalizers": ["jobworker.dev/record"],
        }
        volumes = [{"name": "spec", "secret": {"secretName": f"job-{ID}"}}]
        self._create(
            PODS, {"metadata": metadata, "spec": {**self._spec(priority_class, cpu), "volumes": volumes}}
        )

    def create_urgent_pod(self) -> None:
        """Create a Pod that needs the room of the job."""
        self._create(PODS, {"metadata": {"name": "urgent"}, "spec": self._spec("jobworker-urgent", "4")})

    def evict(self) -> None:
        """Evict the Pod as `kubectl drain` does."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": f"job-{ID}"}}
        self._create(f"{POD}/eviction", eviction)

    def pod(self) -> dict[str, Any]:
        """Return the Pod."""
        return self.api.call("GET", POD)

    def record(self) -> job_pb2.Job:
        """Return the record that the agent has written; an empty one before."""
        annotations = self.pod()["metadata"]["annotations"]
        return job_pb2.Job.FromString(base64.b64decode(annotations.get("jobworker.dev/record", "")))

    def ready(self) -> str:
        """Return the condition Ready of the Node."""
        conditions = self.api.call("GET", f"/api/v1/nodes/{self.name}")["status"]["conditions"]
        return next(str(each["status"]) for each in conditions if each["type"] == "Ready")

    async def kill_agent(self) -> None:
        """End the agent, and wait for its end."""
        self.agent.cancel()
        await asyncio.gather(self.agent, return_exceptions=True)

    def lease_version(self) -> str:
        """Return the resource version of the Lease, which changes with each renewal."""
        lease = self.api.call("GET", f"{LEASES}/{self.name}")
        return str(lease["metadata"]["resourceVersion"])

    def clean_up(self) -> None:
        """Remove all objects."""
        for path in (f"{PODS}/urgent", POD, f"{SECRETS}/job-{ID}", f"/api/v1/nodes/{self.name}"):
            try:
                if path == POD:
                    patch = {"metadata": {"finalizers": None}}
                    self.api.call("PATCH", path, patch, "application/merge-patch+json")
                self.api.call("DELETE", path, {"gracePeriodSeconds": 0})
            except ApiError as error:
                if error.status != 404:
                    raise

    def _create(self, path: str, body: dict[str, Any]) -> None:
        self.api.call("POST", path, body)

    def _spec(self, priority_class: str, cpu: str) -> dict[str, Any]:
        resources = {"cpu": cpu, "memory": "64Mi"}
        return {
            "containers": [
                {
                    "name": "job",
                    "image": "jobworker.dev/job",
                    "resources": {"requests": resources, "limits": resources},
                }
            ],
            "nodeSelector": {"kubernetes.io/hostname": self.name},
            "tolerations": [{"key": "jobworker.dev/node", "operator": "Exists"}],
            "priorityClassName": priority_class,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 20,
        }


@asynccontextmanager
async def _node(
    plane: ControlPlane,
    name: str,
    user: str = "",
    group: str = "system:nodes",
    machine: str = "machine-1",
) -> AsyncIterator[Node]:
    identity = NodeIdentity(name, "127.0.0.1:50051", {})
    kubeconfig = plane.kubeconfig(user or f"system:node:{name}", group)
    async with connect(kubeconfig, identity, "jobworker", machine) as cluster:
        node = Node(name, plane.api(), cluster)
        node.agent = asyncio.ensure_future(run(identity, node.host, cluster))
        try:
            yield node
        finally:
            await node.kill_agent()
            node.clean_up()


@pytest.fixture
async def node(control_plane: ControlPlane) -> AsyncIterator[Node]:
    async with _node(control_plane, "node-a") as node:
        yield node


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if await asyncio.to_thread(condition):
                    return
            except (ApiError, KeyError):
                pass
            await asyncio.sleep(0.05)


async def test_a_job_runs_on_a_node_without_a_kubelet(node: Node) -> None:
    await _until(lambda: node.ready() == "True")
    node.create_job()
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_RUNNING)
    assert node.pod()["status"]["phase"] == "Running"
    ended = node.host.end(job_pb2.JOB_STATUS_COMPLETED)
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_COMPLETED)
    pod = node.pod()
    assert pod["status"]["phase"] == "Succeeded"
    assert node.record().end_time == ended.end_time
    [start] = node.host.starts
    assert start.job.request_id == pod["metadata"]["uid"]
    assert all(seconds <= 15 for seconds in node.host.leases)


async def test_a_job_that_waits_for_room_says_so(node: Node) -> None:
    busy = HostUnavailable("TOO_MANY_JOBS", "8 jobs are running; retry when a job has ended")
    node.host.faults.errors["run"] = [busy]
    node.create_job()
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_RUNNING)
    assert node.pod()["metadata"]["annotations"]["jobworker.dev/shortage"] == "8 jobs are running"


async def test_a_job_that_is_killed_while_it_starts_gets_no_grace_period(node: Node) -> None:
    node.host.may_start.clear()
    node.create_job()
    await _until(lambda: "run" in node.host.faults.calls)
    notes = pods.read(node.pod()).stop_notes("CN=bob", 0)
    node.api.call("PATCH", POD, {"metadata": {"annotations": notes}}, MERGE)
    node.host.may_start.set()
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_STOPPED)
    assert node.host.grace_periods[-1] == 0


async def test_a_drained_job_says_so(node: Node) -> None:
    node.create_job()
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_RUNNING)
    node.evict()
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_STOPPED)
    assert node.record().termination.message == "drained: an administrator removed the jobs from the node"


async def test_a_preempted_job_says_so(node: Node) -> None:
    node.create_job(priority_class="jobworker-low")
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_RUNNING)
    node.create_urgent_pod()
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_STOPPED)
    assert node.record().termination.message == "preempted: a job with a higher priority took its place"


async def test_a_job_whose_pod_was_removed_is_stopped(node: Node) -> None:
    node.create_job()
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_RUNNING)
    node.clean_up()
    await _until(lambda: node.host.jobs[ID].status == job_pb2.JOB_STATUS_STOPPED)


async def test_a_deleted_node_registers_again(node: Node) -> None:
    await _until(lambda: node.ready() == "True")
    node.api.call("DELETE", f"/api/v1/nodes/{node.name}")
    await _until(lambda: node.ready() == "True")


async def test_a_job_waits_until_the_agent_may_read_its_secret(control_plane: ControlPlane) -> None:
    account = "system:serviceaccount:jobworker:jobworker-agent"
    api, [role] = control_plane.api(), [each for each in packaged.objects() if _is_role_of_agents(each)]
    without = {**role, "rules": [rule for rule in role["rules"] if rule["resources"] != ["secrets"]]}
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/jobworker/roles/jobworker-agent"
    api.call("PUT", path, without)
    try:
        async with _node(control_plane, "node-c", account, "system:serviceaccounts:jobworker") as node:
            node.create_job()
            await _until(lambda: "forbidden" in node.pod()["metadata"]["annotations"][names.SHORTAGE])
            api.call("PUT", path, role)
            await _until(lambda: node.record().status == job_pb2.JOB_STATUS_RUNNING)
    finally:
        api.call("PUT", path, role)


def _is_role_of_agents(item: dict[str, Any]) -> bool:
    metadata = item["metadata"]
    found = (item["kind"], metadata["name"], metadata.get("namespace"))
    return found == ("Role", "jobworker-agent", "jobworker")


async def test_two_agents_with_the_same_node_name_do_not_run_a_job_twice(control_plane: ControlPlane) -> None:
    """Two machines from one image have such agents."""
    name = "node-d"
    async with _node(control_plane, name) as node:
        await _until(lambda: node.ready() == "True")
        async with _node(control_plane, name, machine="machine-2") as other:
            # The second check begins after all that the first one does.
            await _until(lambda: other.host.faults.calls.count("describe") > 1)
            node.create_job()
            await _until(lambda: node.record().status == job_pb2.JOB_STATUS_RUNNING)
            node.host.end(job_pb2.JOB_STATUS_COMPLETED)
            await _until(lambda: node.record().status == job_pb2.JOB_STATUS_COMPLETED)
            assert (len(node.host.starts), len(other.host.starts)) == (1, 0)


async def test_a_node_that_dies_after_its_clock_was_set_back_is_found_dead(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NTP does that after the start of a host whose hardware clock is wrong."""
    await _until(lambda: node.ready() == "True" and node.lease_version() != "")

    class SetBack(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "SetBack":
            return cls.fromtimestamp(time.time() - 3_600, tz)

    monkeypatch.setattr(kube_lease, "datetime", SetBack)
    before = node.lease_version()
    await _until(lambda: node.lease_version() != before)
    await node.kill_agent()
    await _until(lambda: node.ready() == "Unknown")


async def test_a_node_cannot_read_the_jobs_of_others(control_plane: ControlPlane, node: Node) -> None:
    node.create_job()
    await _until(lambda: node.record().status == job_pb2.JOB_STATUS_RUNNING)
    assert (await node.cluster.read_spec(pods.read(node.pod()))).request
    async with _node(control_plane, "node-b") as other:
        with pytest.raises(SecretRefused):
            await other.cluster.read_spec(pods.read(node.pod()))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
