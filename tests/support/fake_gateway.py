"""A scripted gateway over mTLS, for tests of programs that only need its answers."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from scripted_cluster import FakeCluster

from jobworker.v1 import cluster_service_pb2_grpc, job_service_pb2_grpc, login_service_pb2
from scripted import FakeServer

OWNER = "CN=admin,OU=Admin"

_IDENTITY = login_service_pb2.Identity(subject=OWNER, role="Admin")


async def _get_identity(request: bytes, context: object) -> bytes:
    """Return the only user, an admin."""
    del request, context
    return login_service_pb2.GetIdentityResponse(identity=_IDENTITY).SerializeToString()


@dataclass
class FakeGateway:
    """A running gateway, with its jobs and its nodes."""

    address: str = ""
    jobs: FakeServer = field(default_factory=FakeServer)
    cluster: FakeCluster = field(default_factory=FakeCluster)

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, certs: Path) -> AsyncIterator["FakeGateway"]:
        """Start a gateway with the certificates of a directory, and stop it at the end."""
        pair = ((certs / "server-key.pem").read_bytes(), (certs / "server.pem").read_bytes())
        credentials = grpc.ssl_server_credentials([pair], (certs / "ca.pem").read_bytes(), True)  # noqa: FBT003
        gateway = cls()
        server = grpc.aio.server()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(gateway.jobs, server)
        cluster_service_pb2_grpc.add_ClusterServiceServicer_to_server(gateway.cluster, server)
        get_identity: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_get_identity)
        login = grpc.method_handlers_generic_handler(
            "jobworker.v1.LoginService", {"GetIdentity": get_identity}
        )
        server.add_generic_rpc_handlers((login,))
        gateway.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
        await server.start()
        try:
            yield gateway
        finally:
            await server.stop(0)
