"""A gateway in this process whose only node is a real server. The test is the cluster and its agent."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from fake_cluster import FakeCluster, fake_cluster
from gateway_calls import service_of
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_gateway.node_certificate import CertificateFiles, NodeCertificate
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.node_errors import NodeErrors
from jobworkerd.config import Config, LogConfig
from jobworkerd.rpc_server import registration
from jobworkerd.rpc_server.interceptors.errors import Errors
from jobworkerd.rpc_server.interceptors.server_interceptor import InterceptorChain
from jobworkerd.rpc_server.registration import Service
from live import Server
from live_client import Client

_JOB_SERVICE = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
_BIN = Path(sys.executable).parent


class RelayedNode:
    """A gateway, and clients of it and of its node."""

    def __init__(self, cluster: FakeCluster, through_gateway: Client, at_node: Client) -> None:
        self.client = through_gateway
        self.at_node = at_node
        self._cluster = cluster
        self._agents: set[asyncio.Task[None]] = set()

    async def create(self, *argv: str, **fields: Any) -> str:
        """Start a job on the node, let the cluster know it, and return its id."""
        job = await self.at_node.create(*argv, **fields)
        await self._cluster.put(_on_node(job))
        agent = asyncio.get_running_loop().create_task(self._report(job.id))
        self._agents.add(agent)
        agent.add_done_callback(self._agents.discard)
        return job.id

    async def end(self) -> None:
        """End the agents."""
        for each in self._agents:
            each.cancel()
        await asyncio.gather(*self._agents, return_exceptions=True)

    async def _report(self, job_id: str) -> None:
        """Wait for the end of a job on the node, and report it to the cluster."""
        while True:
            try:
                ended = await self.at_node.ended(job_id)
            except aio.AioRpcError:  # the server restarts
                await asyncio.sleep(0.05)
            else:
                await self._cluster.put(_on_node(ended))
                return


def _on_node(job: job_pb2.Job) -> job_pb2.Job:
    found = job_pb2.Job()
    found.CopyFrom(job)
    found.node, found.attempt = "one", 1
    return found


@contextlib.asynccontextmanager
async def relayed(
    server: Server, at_node: Client, directory: Path, log: LogConfig
) -> AsyncIterator[RelayedNode]:
    """Serve a gateway for one node until the context ends."""
    files = _gateway_certificate(server.certs)
    nodes = NodeConnections(NodeCertificate(files), asyncio.get_running_loop().time)
    async with fake_cluster(directory) as cluster:
        cluster.add_node("one", server.address)
        gateway = aio.server(interceptors=[InterceptorChain([Errors(), NodeErrors()])])
        service = service_of(cluster.jobs, nodes, Config(log=log))
        registration.add_service(gateway, Service(_JOB_SERVICE, service))
        port = gateway.add_insecure_port("127.0.0.1:0")
        await gateway.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            found = RelayedNode(cluster, Client(channel), at_node)
            try:
                yield found
            finally:
                await found.end()
                await gateway.stop(None)
                await nodes.close()


def _gateway_certificate(certs: Path) -> CertificateFiles:
    issue: list[str | Path] = [
        _BIN / "jobworkerd",
        "certs",
        "issue",
        "gateway",
        "--role=gateway",
        "--force",
        "--dir",
        certs,
    ]
    subprocess.run(issue, check=True, capture_output=True)
    return CertificateFiles(certs / "ca.pem", certs / "gateway.pem", certs / "gateway-key.pem")
