"""The engine of the gateway against a real control plane. The test plays the agents."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine_world import running, until
from fake_archive import FakeArchive
from job_pods import ran
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cluster import job_secrets, names, records
from jobworker_cluster.kube import Delete, Json, Kube
from jobworker_cluster.kube_errors import Forbidden, NotFound, TooLarge
from jobworker_cluster.resources import NODE_LEASES, NODES, Resource, Selection, pods, secrets
from jobworker_gateway.engine import AcceptedJob
from jobworker_gateway.job_table import LiveJob
from jobworker_gateway.kubernetes.cluster_errors import from_kube
from jobworker_gateway.kubernetes.engine import KubernetesEngine
from jobworker_gateway.kubernetes.settings import KubernetesSettings
from jobworkerd import job_id
from jobworkerd.errors import ClusterUnavailable, InvalidRequest, RequestIdReused, TooManyJobs
from tests.cluster.control_plane import ControlPlane
from tests.cluster.packaged import NAMESPACE

PODS, SECRETS = pods(NAMESPACE), secrets(NAMESPACE)
RUNNING, COMPLETED = job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_COMPLETED
STOPPED, LOST, QUEUED = job_pb2.JOB_STATUS_STOPPED, job_pb2.JOB_STATUS_LOST, job_pb2.JOB_STATUS_QUEUED
ids = job_id.JobIds()
_RENEWAL_SECONDS = 0.3


class Cluster:
    """An apiserver, and a node without an agent."""

    def __init__(self, kube: Kube, kubeconfig: Path) -> None:
        self.kube = kube
        self.archive = FakeArchive()
        self.settings = KubernetesSettings(NAMESPACE, kubeconfig, {"gpu": {"gpu": "true"}}, lost_after=2.0)
        self.node = f"node-{uuid.uuid4().hex[:8]}"
        self.renewals = 0

    async def join(self) -> None:
        metadata = {
            "name": self.node,
            "labels": {names.NODE: "true", "test": self.node},
            "annotations": {names.ADDRESS: "192.0.2.1:50051"},
        }
        await self.kube.create(
            NODES, {"metadata": metadata, "spec": {"taints": [{"key": names.NODE, "effect": "NoSchedule"}]}}
        )
        amounts = {"cpu": "2", "memory": "1Gi", "pods": "10"}
        ready = {"type": "Ready", "status": "True", "reason": "Test", "message": ""}
        status = {"status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}}
        await self.kube.patch(NODES, self.node, status, subresource="status")
        lease = {"holderIdentity": self.node, "leaseDurationSeconds": 3600, "renewTime": now()}
        await self.kube.create(NODE_LEASES, {"metadata": {"name": self.node}, "spec": lease})

    async def leave(self) -> None:
        with contextlib.suppress(NotFound):
            await self.kube.delete(NODES, self.node, Delete())
        with contextlib.suppress(NotFound):
            await self.kube.delete(NODE_LEASES, self.node, Delete())

    async def renew(self) -> None:
        while True:
            await self.kube.patch(NODE_LEASES, self.node, {"spec": {"renewTime": now()}})
            self.renewals += 1
            await asyncio.sleep(_RENEWAL_SECONDS)

    async def pod(self, found: job_pb2.Job) -> Json:
        return await self.kube.get(PODS, names.pod_name(found.id))

    async def report(self, found: job_pb2.Job, record: job_pb2.Job, phase: str) -> None:
        text = records.encode(records.strip(record))
        body = {"metadata": {"annotations": {names.RECORD: text}}, "status": {"phase": phase}}
        await self.kube.patch(PODS, names.pod_name(found.id), body, subresource="status")

    async def is_empty(self) -> bool:
        found = [await self.kube.list(Selection(each, names.ALL_JOBS)) for each in (PODS, SECRETS)]
        return not any(page.items for page in found)


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    kubeconfig = control_plane.kubeconfig("admin", "system:masters")
    kube = await Kube.connect(kubeconfig)
    made = Cluster(kube, kubeconfig)
    try:
        await made.join()
        yield made
    finally:
        await made.leave()
        await kube.close()


@contextlib.asynccontextmanager
async def gateway(cluster: Cluster, kubeconfig: Path | None = None) -> AsyncIterator[KubernetesEngine]:
    settings = replace(cluster.settings, kubeconfig=kubeconfig or cluster.settings.kubeconfig)
    engine = await KubernetesEngine.connect(settings, cluster.archive)
    async with running(engine):
        await until(lambda: not engine.problem)
        yield engine


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[KubernetesEngine]:
    async with gateway(cluster) as started:
        yield started
        async with asyncio.timeout(10):
            while not await cluster.is_empty():
                await asyncio.sleep(0.05)


def accepted(cluster: Cluster, request_id: str = "", **fields: Any) -> AcceptedJob:
    found = job_pb2.Job(
        **{
            "id": ids.new(),
            "command": "true",
            "owner": "CN=ada,OU=Admin",
            "status": QUEUED,
            "max_cpu": 100,
            "max_memory": 64,
            "node_selector": {"test": cluster.node},
            **fields,
        }
    )
    found.create_time.GetCurrentTime()
    return AcceptedJob(found, job_service_pb2.CreateJobRequest(command="true", request_id=request_id), "h")


def seen(engine: KubernetesEngine, found: job_pb2.Job) -> LiveJob:
    live = engine.jobs.get(found.id)
    assert live
    return live


async def status(engine: KubernetesEngine, found: job_pb2.Job, wanted: int) -> job_pb2.Job:
    """Wait until a job has a status. It leaves the table some time after it is final."""
    async with asyncio.timeout(30):
        live = engine.jobs.get(found.id)
        while live and live.job.status != wanted:
            live = await engine.jobs.changed(found.id, live.revision)
    if live:
        return live.job
    archived = cluster_archive(engine).rows[found.id].job
    assert archived.status == wanted
    return archived


def cluster_archive(engine: KubernetesEngine) -> FakeArchive:
    archive = engine._attempts.archive
    assert isinstance(archive, FakeArchive)
    return archive


@contextlib.asynccontextmanager
async def quota(cluster: Cluster, pods: int) -> AsyncIterator[None]:
    """Bound the Pods of the namespace, and wait until the apiserver knows the bound."""
    resource = Resource("api/v1", "resourcequotas", NAMESPACE)
    hard = {"count/pods": str(pods)}
    await cluster.kube.create(resource, {"metadata": {"name": "bound"}, "spec": {"hard": hard}})
    try:
        async with asyncio.timeout(30):
            while (await cluster.kube.get(resource, "bound")).get("status", {}).get("hard") != hard:
                await asyncio.sleep(0.05)
        yield
    finally:
        await cluster.kube.delete(resource, "bound", Delete())


async def test_a_quota_of_the_namespace_that_is_used_up(cluster: Cluster, engine: KubernetesEngine) -> None:
    async with quota(cluster, 0):
        with pytest.raises(TooManyJobs, match="exceeded quota: bound"):
            await engine.submit(accepted(cluster))
    assert await cluster.is_empty()


async def test_a_right_that_is_missing(control_plane: ControlPlane) -> None:
    kube = await Kube.connect(control_plane.kubeconfig("stranger", "strangers"))
    try:
        with pytest.raises(Forbidden) as caught:
            await kube.list(Selection(PODS))
    finally:
        await kube.close()
    assert caught.value.lacks_right
    found = re.escape('User "stranger" cannot list resource "pods"')
    assert re.search(f"{found}.* kubectl apply -k packaging", str(from_kube(caught.value)))


async def test_an_apiserver_that_starts_refuses_no_job(
    control_plane: ControlPlane, cluster: Cluster, engine: KubernetesEngine
) -> None:
    """Create a job while an apiserver accepts calls, but has not loaded the rights."""
    user = f"system:serviceaccount:{NAMESPACE}:jobworker-gateway"
    kubeconfig = control_plane.kubeconfig(user, f"system:serviceaccounts:{NAMESPACE}")
    wanted = accepted(cluster, "repeated", node_selector={"missing": "yes"})
    async with gateway(cluster, kubeconfig) as limited:
        control_plane.apiservers[0].kill()
        await until(lambda: limited.problem)
        async with asyncio.timeout(60):
            while not (job := await submitted(limited, wanted)):
                pass
        await until(lambda: not engine.problem and not limited.problem)
        # The gateway that created the Pod removes it.
        assert await limited.cancel(job.id, "CN=ada,OU=Admin")
        await until(lambda: job.id in cluster.archive.rows and not limited.jobs.get(job.id))


async def submitted(engine: KubernetesEngine, wanted: AcceptedJob) -> job_pb2.Job | None:
    """Submit a job; return None if a retry can succeed."""
    try:
        return await engine.submit(wanted)
    except ClusterUnavailable:
        return None


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_an_object_that_is_too_large(cluster: Cluster) -> None:
    body = {"metadata": {"name": "large"}, "stringData": {"a": "b" * 4_000_000}}
    with pytest.raises(TooLarge):
        await cluster.kube.create(SECRETS, body)


async def test_a_job_runs_and_is_archived(cluster: Cluster, engine: KubernetesEngine) -> None:
    created = await engine.submit(accepted(cluster))
    assert created.status == QUEUED
    bound = await status(engine, created, job_pb2.JOB_STATUS_INITIALIZING)
    assert (bound.node, engine.nodes[cluster.node].allocated.cpu) == (cluster.node, 100)
    assert seen(engine, created).address == "192.0.2.1:50051"
    await cluster.report(created, ran(created, RUNNING), "Running")
    await status(engine, created, RUNNING)
    await cluster.report(created, ran(created, COMPLETED), "Succeeded")
    await status(engine, created, COMPLETED)
    await until(lambda: engine.jobs.get(created.id) is None)
    assert cluster.archive.rows[created.id].job.status == COMPLETED
    assert engine.nodes[cluster.node].allocated.cpu == 0


async def test_a_job_in_the_queue_can_be_cancelled(cluster: Cluster, engine: KubernetesEngine) -> None:
    created = await engine.submit(accepted(cluster, queue="gpu"))
    assert await engine.cancel(created.id, "CN=bob")
    final = await status(engine, created, STOPPED)
    assert final.termination.stopped_by == "CN=bob"


async def test_the_pod_of_another_attempt_is_left_alone(cluster: Cluster, engine: KubernetesEngine) -> None:
    created = await engine.submit(accepted(cluster, queue="gpu"))
    former = replace(engine._state.pods[created.id], uid=str(uuid.uuid4()))
    assert await engine._attempts.annotate(former, former.stop_notes("CN=eve", None)) is None
    await engine._attempts.release(former)
    assert names.RECORD in (await cluster.pod(created))["metadata"]["finalizers"]
    assert await engine.cancel(created.id, "CN=bob")
    assert (await status(engine, created, STOPPED)).termination.stopped_by == "CN=bob"


async def test_a_job_leaves_the_queue_after_its_timeout(cluster: Cluster, engine: KubernetesEngine) -> None:
    job = accepted(cluster, queue="gpu")
    job.job.queue_timeout.FromMilliseconds(300)
    created = await engine.submit(job)
    final = await status(engine, created, job_pb2.JOB_STATUS_FAILED)
    assert final.termination.reason == job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT


@pytest.mark.parametrize("retry", [False, True])
async def test_a_job_is_lost_with_its_node(
    cluster: Cluster, engine: KubernetesEngine, *, retry: bool
) -> None:
    created = await engine.submit(accepted(cluster, retry_on_lost=retry))
    await status(engine, created, job_pb2.JOB_STATUS_INITIALIZING)
    await cluster.report(created, ran(created, RUNNING), "Running")
    await status(engine, created, RUNNING)
    await cluster.kube.delete(PODS, names.pod_name(created.id), Delete())
    if retry:
        second = await status(engine, created, job_pb2.JOB_STATUS_INITIALIZING)
        assert second.attempt == 2
        assert not cluster.archive.rows
        await cluster.report(created, ran(created, COMPLETED), "Succeeded")
        final = await status(engine, created, COMPLETED)
        assert final.attempt == 2
    else:
        final = await status(engine, created, LOST)
        assert cluster.node in final.termination.message
    await until(lambda: engine.jobs.get(created.id) is None)


async def test_a_renewed_lease_keeps_a_job(cluster: Cluster, engine: KubernetesEngine) -> None:
    renewing = asyncio.create_task(cluster.renew())
    created = await engine.submit(accepted(cluster))
    await status(engine, created, job_pb2.JOB_STATUS_INITIALIZING)
    await cluster.kube.delete(PODS, names.pod_name(created.id), Delete())
    enough = cluster.renewals + 2 * cluster.settings.lost_after / _RENEWAL_SECONDS
    await until(lambda: cluster.renewals >= enough)
    assert seen(engine, created).job.status == job_pb2.JOB_STATUS_INITIALIZING
    renewing.cancel()
    await cluster.report(created, ran(created, STOPPED, "EVICTED"), "Failed")
    await status(engine, created, STOPPED)
    await until(lambda: engine.jobs.get(created.id) is None)


async def test_two_gateways_see_and_end_the_same_jobs(cluster: Cluster, engine: KubernetesEngine) -> None:
    async with gateway(cluster) as other:
        created = await engine.submit(accepted(cluster, retry_on_lost=True, request_id="r"))
        assert await other.find(created.id)
        await status(other, created, job_pb2.JOB_STATUS_INITIALIZING)
        again = accepted(cluster, retry_on_lost=True, request_id="r")
        assert (await other.submit(again)).id == created.id
        assert await other.knows(again.job.owner, "r")
        with pytest.raises(RequestIdReused):
            await other.submit(AcceptedJob(again.job, again.request, "different"))
        await cluster.report(created, ran(created, STOPPED, "EVICTED"), "Failed")
        await until(lambda: seen(engine, created).job.attempt == 2)
        await status(engine, created, job_pb2.JOB_STATUS_INITIALIZING)
        await status(other, created, job_pb2.JOB_STATUS_INITIALIZING)
        await cluster.report(created, ran(created, COMPLETED), "Succeeded")
        await asyncio.gather(*(status(each, created, COMPLETED) for each in (engine, other)))
        await until(lambda: not (engine.jobs.get(created.id) or other.jobs.get(created.id)))
        assert (await other.submit(again)).status == COMPLETED
        assert await other.knows(again.job.owner, "r")
        assert not await other.knows(again.job.owner, "unused")


async def test_a_secret_without_a_pod_becomes_a_job(cluster: Cluster, engine: KubernetesEngine) -> None:
    job = accepted(cluster, queue="gpu")
    name = names.secret_name(job.job.id, "")
    await cluster.kube.create(SECRETS, job_secrets.build(name, job.job, job.request, "h"))
    await until(lambda: engine.jobs.get(job.job.id))
    assert await engine.cancel(job.job.id, "CN=bob")
    await status(engine, job.job, STOPPED)


async def test_a_job_whose_pod_was_removed_is_lost(cluster: Cluster, engine: KubernetesEngine) -> None:
    renewing = asyncio.create_task(cluster.renew())
    created = await engine.submit(accepted(cluster))
    await status(engine, created, job_pb2.JOB_STATUS_INITIALIZING)
    name = names.pod_name(created.id)
    await cluster.kube.patch(PODS, name, {"metadata": {"finalizers": None}})
    await cluster.kube.delete(PODS, name, Delete(grace_seconds=0))
    final = await status(engine, created, LOST)
    assert "removed from the cluster" in final.termination.message
    renewing.cancel()


async def test_a_job_whose_pod_was_removed_while_no_gateway_ran_does_not_run_again(cluster: Cluster) -> None:
    renewing = asyncio.create_task(cluster.renew())
    async with gateway(cluster) as former:
        created = await former.submit(accepted(cluster))
        await status(former, created, job_pb2.JOB_STATUS_INITIALIZING)
    name = names.pod_name(created.id)
    await cluster.kube.patch(PODS, name, {"metadata": {"finalizers": None}})
    await cluster.kube.delete(PODS, name, Delete(grace_seconds=0))
    async with gateway(cluster):
        await until(lambda: created.id in cluster.archive.rows)
    assert "removed from the cluster" in cluster.archive.rows[created.id].job.termination.message
    assert await cluster.is_empty()
    renewing.cancel()


async def test_a_job_whose_secret_was_changed_by_hand_is_lost(
    cluster: Cluster, engine: KubernetesEngine
) -> None:
    job = accepted(cluster, queue="gpu")
    name = names.secret_name(job.job.id, "")
    body = job_secrets.build(name, job.job, job.request, "h")
    body["data"] = {names.SPEC_KEY: ""}
    await cluster.kube.create(SECRETS, body)
    await until(lambda: job.job.id in cluster.archive.rows)
    final = cluster.archive.rows[job.job.id].job
    assert (final.status, f"Secret {name}: job is missing" in final.termination.message) == (LOST, True)
    assert await engine.find(job.job.id) is None


async def test_a_job_whose_pod_was_changed_by_hand_is_lost(
    cluster: Cluster, engine: KubernetesEngine
) -> None:
    created = await engine.submit(accepted(cluster))
    await status(engine, created, job_pb2.JOB_STATUS_INITIALIZING)
    name = names.pod_name(created.id)
    await cluster.kube.patch(PODS, name, {"metadata": {"annotations": {names.JOB: None}}})
    final = await status(engine, created, LOST)
    assert f"Pod {name}: {names.JOB} is missing" in final.termination.message
    assert final.node == cluster.node


async def test_an_unknown_queue_and_an_invalid_selector_are_refused(
    cluster: Cluster, engine: KubernetesEngine
) -> None:
    with pytest.raises(InvalidRequest, match="use one of default, gpu"):
        await engine.submit(accepted(cluster, queue="none"))
    with pytest.raises(InvalidRequest, match="node_selector"):
        await engine.submit(accepted(cluster, node_selector={"a b": "?"}))
