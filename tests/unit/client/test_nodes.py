"""Tests of the nodes of a cluster, with both clients."""

import grpc
import pytest
from scripted_cluster import FakeCluster

from jobworker_client import ClusterRefused, ClusterUnavailable, JobWorkerError, NodeUnreachable
from scripted import JOB_ID, FakeServer
from scripted_messages import Refusal
from tests.unit.client.conftest import AnyClient

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


async def test_nodes_of_all_pages_are_listed(any_client: AnyClient, cluster: FakeCluster) -> None:
    names = [cluster.add(f"node{number}").name for number in range(5)]
    assert [node.name for node in await any_client.list_nodes(page_size=2)] == names
    assert [(each.page_size, each.page_token) for each in cluster.listed] == [(2, ""), (2, "2"), (2, "4")]


async def test_a_page_has_500_nodes(any_client: AnyClient, cluster: FakeCluster) -> None:
    assert await any_client.list_nodes() == []
    assert [each.page_size for each in cluster.listed] == [500]


async def test_list_nodes_is_retried(any_client: AnyClient, cluster: FakeCluster) -> None:
    cluster.add("node1")
    cluster.refusals = [Refusal(UNAVAILABLE, "etcd is away", "CLUSTER_UNAVAILABLE")]
    assert [node.name for node in await any_client.list_nodes()] == ["node1"]
    assert len(cluster.listed) == 2


@pytest.mark.usefixtures("server")
async def test_single_host_has_no_nodes(any_client: AnyClient) -> None:
    with pytest.raises(JobWorkerError) as raised:
        await any_client.list_nodes()
    assert (raised.value.code, raised.value.retryable) == ("UNIMPLEMENTED", False)


async def test_a_refusal_of_the_cluster_is_not_retried(any_client: AnyClient, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(FAILED_PRECONDITION, "no right", "CLUSTER_REFUSED")] * 2
    with pytest.raises(ClusterRefused) as raised:
        await any_client.call("get", JOB_ID)
    assert not raised.value.retryable
    assert len(server.refusals["GetJob"]) == 1


@pytest.mark.parametrize("kind", [NodeUnreachable, ClusterUnavailable])
async def test_errors_of_a_gateway_are_retryable(
    any_client: AnyClient, server: FakeServer, kind: type[JobWorkerError]
) -> None:
    reason = "NODE_UNREACHABLE" if kind is NodeUnreachable else "CLUSTER_UNAVAILABLE"
    refusal = Refusal(UNAVAILABLE, "no", reason, {"node": "node1"}, retry_delay=2)
    server.refusals["GetJob"] = [refusal] * 50
    with pytest.raises(kind) as raised:
        await any_client.call("get", JOB_ID)
    assert (raised.value.retryable, raised.value.retry_delay) == (True, 2)
    assert raised.value.metadata["node"] == "node1"
    assert len(server.refusals["GetJob"]) < 49
