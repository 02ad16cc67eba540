"""Fixtures that run the scripted server over mTLS in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import trustme
from scripted_cluster import FakeCluster

from jobworker.v1 import cluster_service_pb2_grpc, job_service_pb2_grpc
from scripted import FakeServer


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return the CA of the server and the clients."""
    return trustme.CA()


@pytest.fixture(scope="session")
def certs(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory like that of `jobworkerd certs init`, with the files of the clients only."""
    directory = tmp_path_factory.mktemp("certs")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for role in ("admin", "viewer"):
        leaf = authority.issue_cert(f"{role}@example.org", organization_unit_name=role.capitalize())
        leaf.cert_chain_pems[0].write_to_path(directory / f"{role}.pem")
        leaf.private_key_pem.write_to_path(directory / f"{role}-key.pem")
        (directory / f"{role}-key.pem").chmod(0o600)
    return directory


@pytest.fixture
async def endpoint(authority: trustme.CA) -> AsyncIterator["Endpoint"]:
    """Yield a listening server."""
    endpoint = Endpoint(FakeServer(), authority)
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


class Endpoint:
    """A scripted server on a loopback port, which can stop and restart on the same port.

    With `cluster` it is a gateway from the next start on.
    """

    def __init__(self, server: FakeServer, authority: trustme.CA) -> None:
        self.server = server
        self.cluster: FakeCluster | None = None
        self.port = 0
        leaf = authority.issue_cert("localhost", "127.0.0.1")
        self._credentials = grpc.ssl_server_credentials(
            [(leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())],
            root_certificates=authority.cert_pem.bytes(),
            require_client_auth=True,
        )
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port, or again on the first port."""
        server = grpc.aio.server()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(self.server, server)
        if self.cluster:
            cluster_service_pb2_grpc.add_ClusterServiceServicer_to_server(self.cluster, server)
        self.port = server.add_secure_port(f"127.0.0.1:{self.port}", self._credentials)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Stop at once and cancel all calls."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None


@pytest.fixture
def server(endpoint: Endpoint) -> FakeServer:
    """Return the scripted server."""
    return endpoint.server


@pytest.fixture
async def cluster(endpoint: Endpoint) -> FakeCluster:
    """Make the scripted server a gateway, and return its cluster."""
    await endpoint.stop()
    endpoint.cluster = FakeCluster()
    await endpoint.start()
    return endpoint.cluster
