"""The objects of a node: the Secrets and the Pods of its attempts, and its Lease."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fake_apiserver import apiserver
from job_pods import job, pod, pod_item, secret_item
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_agent.cluster import AttemptOver, ClusterUnavailable, SecretRefused, SecretUnreadable
from jobworker_agent.kube_cluster import KubeCluster
from jobworker_agent.kube_lease import KubeLease
from jobworker_agent.node_object import NodeIdentity
from jobworker_cluster import kube as kube_client
from jobworker_cluster import names, pods
from jobworker_cluster.kube_errors import Conflict
from jobworker_cluster.resources import NODE_LEASES
from jobworker_cluster.trace_headers import TraceHeaders

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1"
SECRETS = "/api/v1/namespaces/jobworker/secrets"
PODS = "/api/v1/namespaces/jobworker/pods"
IDENTITY = NodeIdentity("node-1", "192.0.2.1:50051", {}, 0, 0, 0)
FIRST = pod(job())


@pytest.mark.parametrize(("next_attempt", "attempt"), [(1, 1), (2, 2)])
async def test_the_secret_of_the_current_attempt_has_the_request(next_attempt: int, attempt: int) -> None:
    async with apiserver() as (server, kube):
        await server.put(f"{SECRETS}/{FIRST.secret}", secret_item(job(), attempt=next_attempt))
        cluster = KubeCluster(kube, IDENTITY, "jobworker", "machine-1")
        spec = await cluster.read_spec(replace(FIRST, attempt=attempt))
    assert job_service_pb2.CreateJobRequest.FromString(spec.request).command == "true"
    assert spec.trace == TraceHeaders()


async def test_the_secret_has_the_trace_of_the_job() -> None:
    trace = TraceHeaders("a parent", "a state")
    secret = secret_item(job())
    secret["metadata"]["annotations"] |= trace.annotations
    async with apiserver() as (server, kube):
        await server.put(f"{SECRETS}/{FIRST.secret}", secret)
        assert (await KubeCluster(kube, IDENTITY, "jobworker", "machine-1").read_spec(FIRST)).trace == trace


@pytest.mark.parametrize(("status", "error"), [(403, SecretRefused), (404, SecretUnreadable)])
async def test_a_secret_that_is_missing_is_not_one_that_the_agent_may_not_read(
    status: int, error: type[Exception]
) -> None:
    async with apiserver() as (server, kube):
        server.refusals[f"GET {SECRETS}/{FIRST.secret}"] = [(status, "why")]
        with pytest.raises(error, match="why"):
            await KubeCluster(kube, IDENTITY, "jobworker", "machine-1").read_spec(FIRST)


async def test_an_attempt_is_over_once_its_secret_has_the_next_one() -> None:
    async with apiserver() as (server, kube):
        await server.put(f"{SECRETS}/{FIRST.secret}", secret_item(job(), attempt=2))
        with pytest.raises(AttemptOver, match="attempt 2"):
            await KubeCluster(kube, IDENTITY, "jobworker", "machine-1").read_spec(FIRST)


async def test_a_later_job_of_the_same_request_does_not_start_as_the_first() -> None:
    async with apiserver() as (server, kube):
        await server.put(f"{SECRETS}/{FIRST.secret}", secret_item(job(2)))
        with pytest.raises(AttemptOver, match=job(2).id):
            await KubeCluster(kube, IDENTITY, "jobworker", "machine-1").read_spec(FIRST)


async def test_a_secret_whose_attempt_was_changed_by_hand_cannot_be_read() -> None:
    secret = secret_item(job())
    secret["metadata"]["annotations"][names.ATTEMPT] = "one"
    async with apiserver() as (server, kube):
        await server.put(f"{SECRETS}/{FIRST.secret}", secret)
        with pytest.raises(SecretUnreadable, match="is 'one', not a number"):
            await KubeCluster(kube, IDENTITY, "jobworker", "machine-1").read_spec(FIRST)


@pytest.mark.parametrize("uid", ["uid-1", "uid-2"])
async def test_the_shortage_of_the_host_is_in_the_pod_of_the_attempt(uid: str) -> None:
    async with apiserver() as (server, kube):
        path = f"{PODS}/{FIRST.name}"
        bound = replace(pods.read(await server.put(path, pod_item(job(), uid=uid))), uid=FIRST.uid)
        await KubeCluster(kube, IDENTITY, "jobworker", "machine-1").note_shortage(bound, "8 jobs are running")
        assert pods.read(server.objects[path]).shortage == ("8 jobs are running" if uid == FIRST.uid else "")


async def test_a_shortage_that_arrives_after_a_later_one_is_not_written() -> None:
    """A request can arrive after a cut of the network."""
    async with apiserver() as (server, kube):
        path = f"{PODS}/{FIRST.name}"
        bound = pods.read(await server.put(path, pod_item(job())))
        cluster = KubeCluster(kube, IDENTITY, "jobworker", "machine-1")
        for why in ("8 jobs are running", "7 jobs are running"):
            await cluster.note_shortage(bound, why)
        assert pods.read(server.objects[path]).shortage == "8 jobs are running"


async def test_a_record_that_arrives_after_a_later_one_is_refused() -> None:
    async with apiserver() as (server, kube):
        path = f"{PODS}/{FIRST.name}"
        await server.put(path, pod_item(job()))
        cluster = KubeCluster(kube, IDENTITY, "jobworker", "machine-1")
        bound = pods.read(server.objects[path])
        running = await cluster.report(bound, job(status=job_pb2.JOB_STATUS_RUNNING))
        assert running
        assert await cluster.report(running, job(status=job_pb2.JOB_STATUS_COMPLETED))
        with pytest.raises(ClusterUnavailable):
            await cluster.report(bound, job(status=job_pb2.JOB_STATUS_RUNNING))
        record = pods.read(server.objects[path]).record
    assert record
    assert record.status == job_pb2.JOB_STATUS_COMPLETED


async def test_a_renewal_that_arrives_after_a_later_one_is_refused() -> None:
    async with apiserver() as (server, kube):
        cluster = KubeCluster(kube, IDENTITY, "jobworker", "machine-1")
        for _ in range(2):
            await cluster.renew_lease(15, "node-uid")
        late = server.patches[-1]
        await cluster.renew_lease(15, "node-uid")
        with pytest.raises(Conflict):
            await kube.patch(NODE_LEASES, IDENTITY.name, late)


async def test_a_lease_is_renewed_after_an_answer_was_lost() -> None:
    async with apiserver() as (server, kube):
        cluster = KubeCluster(kube, IDENTITY, "jobworker", "machine-1")
        await cluster.renew_lease(15, "node-uid")
        lease = server.objects[LEASE]
        await server.put(LEASE, lease)
        await cluster.renew_lease(15, "node-uid")
        assert server.objects[LEASE]["spec"]["renewTime"] > lease["spec"]["renewTime"]


@pytest.mark.parametrize(("spec", "unschedulable"), [({}, False), ({"unschedulable": True}, True)])
async def test_a_cordoned_node_is_unschedulable(spec: dict[str, bool], *, unschedulable: bool) -> None:
    async with apiserver() as (server, kube):
        await server.put(
            "/api/v1/nodes/node-1", {"metadata": {"name": "node-1", "uid": "uid-1"}, "spec": spec}
        )
        node = await KubeCluster(kube, IDENTITY, "jobworker", "machine-1").node()
    assert node
    assert node.unschedulable is unschedulable


async def test_a_lease_is_renewed_while_many_jobs_use_all_other_connections() -> None:
    """Otherwise a slow apiserver costs the node its lease, and the jobs that end with it their lives."""
    path = f"{SECRETS}/{FIRST.secret}"
    answers = asyncio.Event()
    async with apiserver() as (server, kube):
        await server.put(path, secret_item(job()))
        server.before_get[path] = answers.wait
        cluster = KubeCluster(kube, IDENTITY, "jobworker", "machine-1")
        reads = [asyncio.ensure_future(cluster.read_spec(FIRST)) for _ in range(120)]
        while server.requests.count(f"GET {path}") < 100:
            await asyncio.sleep(0)
        try:
            await cluster.renew_lease(15, "node-uid")
        finally:
            answers.set()
            await asyncio.gather(*reads, return_exceptions=True)
        assert LEASE in server.objects


async def test_a_lease_is_renewed_while_the_connections_of_the_jobs_are_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection of the lease costs one renewal. Three that fail would end the lease."""
    async with apiserver() as (server, kube):
        await server.put(f"{SECRETS}/{FIRST.secret}", secret_item(job()))
        cluster = KubeCluster(kube, IDENTITY, "jobworker", "machine-1")
        await cluster.renew_lease(15, "node-uid")
        await asyncio.gather(*(cluster.read_spec(FIRST) for _ in range(10)))
        server.silence()
        monkeypatch.setattr(kube_client, "_CALL_SECONDS", 0.3)
        with pytest.raises(ClusterUnavailable):
            await cluster.renew_lease(15, "node-uid")
        monkeypatch.undo()
        await cluster.renew_lease(15, "node-uid")


class Clock:
    """The time since the start of the host."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def test_one_of_two_agents_with_the_same_name_is_the_node() -> None:
    clock = Clock()
    async with apiserver() as (_, kube):
        one = KubeLease(kube, "node-1", "machine-1", clock)
        other = KubeLease(kube, "node-1", "machine-2", clock)
        await one.claim()
        await one.renew(15, "node-uid")
        for _ in range(3):
            clock.now += 24.0
            with pytest.raises(ClusterUnavailable, match="machine-1, renews the lease of node node-1"):
                await other.claim()
            with pytest.raises(ClusterUnavailable, match="machine-1"):
                await other.renew(15, "node-uid")
            await one.renew(15, "node-uid")


async def test_an_agent_on_another_machine_becomes_the_node_when_the_first_is_silent() -> None:
    clock = Clock()
    async with apiserver() as (_, kube):
        one = KubeLease(kube, "node-1", "machine-1", clock)
        other = KubeLease(kube, "node-1", "machine-2", clock)
        await one.renew(15, "node-uid")
        with pytest.raises(ClusterUnavailable):
            await other.claim()
        clock.now += 25.0
        await other.claim()
        await other.renew(15, "node-uid")
        with pytest.raises(ClusterUnavailable, match="machine-2"):
            await one.renew(15, "node-uid")


async def test_an_agent_that_starts_again_is_the_node_at_once() -> None:
    async with apiserver() as (server, kube):
        await KubeLease(kube, "node-1", "machine-1").renew(15, "node-uid")
        again = KubeLease(kube, "node-1", "machine-1")
        await again.claim()
        await again.renew(15, "node-uid")
        assert server.objects[LEASE]["spec"]["holderIdentity"] == "node-1_machine-1"


async def test_the_time_of_renewals_grows_while_the_clock_is_set_back() -> None:
    """The controller manager counts no other renewals, and would not see the end of the node."""
    times = iter([10, 5, 1, 11])

    def now() -> datetime:
        return datetime(2026, 1, 1, next(times), tzinfo=UTC)

    written = []
    async with apiserver() as (server, kube):
        for agent in (KubeLease(kube, "node-1", "machine-1", time=now) for _ in range(2)):
            for _ in range(2):
                await agent.renew(15, "node-uid")
                written.append(server.objects[LEASE]["spec"]["renewTime"])
    assert written == sorted(set(written))
    assert written[-1] == "2026-01-01T11:00:00.000000Z"
