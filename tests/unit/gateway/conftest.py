"""A cluster in memory with one scripted node."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from fake_cluster import FakeCluster, fake_cluster
from jobworker_gateway.node_certificate import NodeCertificate
from jobworker_gateway.node_connections import NodeConnections
from scripted_node import ScriptedNode, running_node


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The CA of the nodes and the gateway."""
    return trustme.CA()


@pytest.fixture
async def node(authority: trustme.CA, tmp_path: Path) -> AsyncIterator[ScriptedNode]:
    """A node."""
    async with running_node(authority, tmp_path) as running:
        yield running


@pytest.fixture
async def nodes(node: ScriptedNode) -> AsyncIterator[NodeConnections]:
    """The connections of the gateway."""
    connections = NodeConnections(NodeCertificate(node.files), asyncio.get_running_loop().time)
    yield connections
    await connections.close()


@pytest.fixture
async def cluster(node: ScriptedNode, tmp_path: Path) -> AsyncIterator[FakeCluster]:
    """A cluster without jobs, in which the node is called `one`."""
    async with fake_cluster(tmp_path) as found:
        found.add_node("one", node.address)
        yield found
