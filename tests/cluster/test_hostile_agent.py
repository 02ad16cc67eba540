"""Attacks with the identity of an agent, `system:node:NAME`, at a real control plane."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine_world import until
from job_pods import ran
from jobworker.v1 import job_pb2
from jobworker_cluster import names, records
from jobworker_cluster.kube import Json, Kube
from jobworker_cluster.kube_errors import Forbidden
from jobworker_cluster.resources import NODES, secrets
from jobworker_gateway.kubernetes.engine import KubernetesEngine
from tests.cluster.control_plane import ControlPlane
from tests.cluster.packaged import NAMESPACE
from tests.cluster.test_engine import (
    COMPLETED,
    PODS,
    RUNNING,
    Cluster,
    accepted,
    cluster,
    gateway,
    seen,
    status,
)

__all__ = ["cluster"]


@pytest.fixture
async def agent(control_plane: ControlPlane, cluster: Cluster) -> AsyncIterator[Kube]:
    """The API server, called by the agent of the node."""
    kube = await Kube.connect(control_plane.kubeconfig(f"system:node:{cluster.node}", "system:nodes"))
    try:
        yield kube
    finally:
        await kube.close()


@pytest.fixture
async def elsewhere(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    """Another node."""
    kubeconfig = control_plane.kubeconfig("admin", "system:masters")
    kube = await Kube.connect(kubeconfig)
    made = Cluster(kube, kubeconfig)
    try:
        await made.join()
        yield made
    finally:
        await made.leave()
        await kube.close()


async def _run(engine: KubernetesEngine, where: Cluster) -> job_pb2.Job:
    """Let a node run a job."""
    created = await engine.submit(accepted(where))
    await status(engine, created, job_pb2.JOB_STATUS_INITIALIZING)
    await where.report(created, ran(created, RUNNING), "Running")
    await status(engine, created, RUNNING)
    return created


async def _end(engine: KubernetesEngine, where: Cluster, created: job_pb2.Job) -> None:
    await where.report(created, ran(created, COMPLETED), "Succeeded")
    await status(engine, created, COMPLETED)
    await until(lambda: not engine.jobs.get(created.id))


async def test_it_cannot_end_a_job_of_another_node(cluster: Cluster, elsewhere: Cluster, agent: Kube) -> None:
    async with gateway(cluster) as engine:
        other, own = await _run(engine, elsewhere), await _run(engine, cluster)
        initial = (await elsewhere.pod(other))["metadata"]["annotations"][names.JOB]
        forged: Json = {names.JOB: initial, names.RECORD: records.encode(ran(other, COMPLETED))}
        pod = names.pod_name(own.id)
        await agent.patch(PODS, pod, {"metadata": {"annotations": forged}}, subresource="status")
        # The job of the changed Pod ends, but no other one.
        await until(lambda: own.id in cluster.archive.rows)
        later = await _run(engine, cluster)
        assert seen(engine, other).job.node == elsewhere.node
        assert other.id not in cluster.archive.rows
        for where, job in ((elsewhere, other), (cluster, later)):
            await _end(engine, where, job)


@pytest.mark.parametrize(
    "hostile",
    [
        {"allocatable": {"cpu": "9E"}},
        {"conditions": [{"type": "A", "status": "True", "lastTransitionTime": "0000-01-01T00:00:00Z"}]},
    ],
)
async def test_it_cannot_end_the_gateways(
    cluster: Cluster, elsewhere: Cluster, agent: Kube, hostile: Json
) -> None:
    async with gateway(cluster) as engine:
        await agent.patch(NODES, cluster.node, {"status": hostile}, subresource="status")
        created = await _run(engine, elsewhere)
        await _end(engine, elsewhere, created)
    async with gateway(cluster) as restarted:
        assert elsewhere.node in restarted.nodes


async def test_it_can_neither_change_labels_of_pods_nor_read_other_secrets(
    cluster: Cluster, elsewhere: Cluster, agent: Kube
) -> None:
    async with gateway(cluster) as engine:
        other, own = await _run(engine, elsewhere), await _run(engine, cluster)
        labels = {names.OWNER: names.owner_label("CN=eve")}
        with pytest.raises(Forbidden, match="label"):
            await agent.patch(
                PODS, names.pod_name(own.id), {"metadata": {"labels": labels}}, subresource="status"
            )
        with pytest.raises(Forbidden):
            await agent.get(secrets(NAMESPACE), names.secret_name(other.id, ""))
        with pytest.raises(Forbidden):
            await agent.patch(PODS, names.pod_name(other.id), {}, subresource="status")
        await asyncio.gather(_end(engine, elsewhere, other), _end(engine, cluster, own))


async def test_it_cannot_take_a_label_that_is_reserved_for_administrators(
    cluster: Cluster, agent: Kube
) -> None:
    reserved = {"node-restriction.kubernetes.io/team": "a"}
    with pytest.raises(Forbidden, match="node-restriction"):
        await agent.patch(NODES, cluster.node, {"metadata": {"labels": reserved}})
    await agent.patch(NODES, cluster.node, {"metadata": {"labels": {"team": "a"}}})
