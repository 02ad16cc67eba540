"""The connections of a gateway to nodes."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from cluster_jobs import ALICE
from jobworker.v1 import job_service_pb2
from jobworker_gateway import node_connections
from jobworker_gateway.node_certificate import NodeCertificate
from jobworker_gateway.node_connections import Node, NodeConnection, NodeConnections
from jobworkerd.errors import NodeUnreachable
from scripted_node import ScriptedNode, answer, gateway_files, then_wait

GET = "/jobworker.v1.JobService/GetJob"
REQUEST = job_service_pb2.GetJobRequest(id="x")


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


async def opened(nodes: NodeConnections, node: ScriptedNode) -> NodeConnection:
    """Open a connection for a call and return it after the call."""
    async with nodes.open(Node("one", node.address)) as connection:
        await connection.unary(GET, REQUEST, ALICE, 5)
    return connection


async def test_calls_share_a_connection_until_it_is_idle(node: ScriptedNode) -> None:
    clock = Clock()
    nodes = NodeConnections(NodeCertificate(node.files), clock)
    node.on("GetJob", answer(job_service_pb2.GetJobResponse()))
    first = await opened(nodes, node)
    clock.now += 299
    assert await opened(nodes, node) is first
    clock.now += 301
    assert await opened(nodes, node) is not first
    await nodes.close()


async def test_many_calls_have_several_connections(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_connections, "MAX_CALLS", 2)
    nodes, waiting = NodeConnections(NodeCertificate(node.files), Clock()), asyncio.Event()
    node.on("GetJobsStream", then_wait(waiting))
    async with AsyncExitStack() as open_:
        used = set()
        for _ in range(5):
            connection = await open_.enter_async_context(nodes.open(Node("one", node.address)))
            stream = connection.stream("/jobworker.v1.JobService/GetJobsStream", ALICE)
            open_.callback(stream.cancel)
            await stream.request(b"")
            used.add(connection)
        assert len(used) == len(node.peers) == 3
    await nodes.close()


async def test_a_renewed_certificate_is_used_and_calls_in_progress_go_on(
    node: ScriptedNode, authority: trustme.CA, tmp_path: Path
) -> None:
    clock = Clock()
    nodes = NodeConnections(NodeCertificate(node.files), clock)
    node.on("GetJob", answer(job_service_pb2.GetJobResponse()))
    waiting = asyncio.Event()
    node.on("GetJobsStream", then_wait(waiting, job_service_pb2.GetJobsStreamResponse(offset=7)))
    async with nodes.open(Node("one", node.address)) as old:
        stream = old.stream("/jobworker.v1.JobService/GetJobsStream", ALICE)
        await stream.request(b"")
        gateway_files(authority, tmp_path)
        clock.now += 6
        assert await opened(nodes, node) is not old
        data = await stream.read()
        assert data
        assert job_service_pb2.GetJobsStreamResponse.FromString(data).offset == 7
        stream.cancel()
    await nodes.close()


async def test_a_certificate_that_cannot_be_used_does_not_replace_the_old_one(
    node: ScriptedNode,
) -> None:
    clock = Clock()
    nodes = NodeConnections(NodeCertificate(node.files), clock)
    node.on("GetJob", answer(job_service_pb2.GetJobResponse()))
    first = await opened(nodes, node)
    node.files.cert.write_text("half a cert")
    clock.now += 6
    assert await opened(nodes, node) is first
    await nodes.close()


async def test_a_certificate_that_cannot_be_used_at_the_start_is_an_error(node: ScriptedNode) -> None:
    node.files.key.unlink()
    nodes = NodeConnections(NodeCertificate(node.files), Clock())
    with pytest.raises(NodeUnreachable, match="cannot read the file"):
        await opened(nodes, node)


async def test_an_address_that_is_none_is_an_error(node: ScriptedNode) -> None:
    nodes = NodeConnections(NodeCertificate(node.files), Clock())
    with pytest.raises(NodeUnreachable, match="is not HOST:PORT"):
        async with nodes.open(Node("one", "a:b:c")):
            pass


async def test_a_node_that_does_not_answer_in_time_is_unreachable(node: ScriptedNode) -> None:
    nodes = NodeConnections(NodeCertificate(node.files), Clock())
    node.on("GetJob", then_wait(asyncio.Event()))
    async with nodes.open(Node("one", node.address)) as connection:
        with pytest.raises(NodeUnreachable, match="Deadline Exceeded"):
            await connection.unary(GET, REQUEST, ALICE, 0.05)
    await nodes.close()


def test_servers_accept_the_pings() -> None:
    assert dict(node_connections._OPTIONS)["grpc.keepalive_time_ms"] > 5_000
