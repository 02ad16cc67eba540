"""Certificates of agents and gateways that are revoked and renewed while they run."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from jobworker.v1 import job_service_pb2
from jobworker_agent.host import GrpcHost
from jobworker_agent.host_address import HostAddress
from jobworker_agent.host_errors import HostUnavailable
from jobworker_gateway.node_certificate import CertificateFiles, NodeCertificate
from jobworker_gateway.node_connections import Node, NodeConnections
from jobworker_gateway.node_errors import NodeError
from jobworkerd.errors import NodeUnreachable
from live import Server

BIN = Path(sys.executable).parent
GET_JOB = "/jobworker.v1.JobService/GetJob"
UNKNOWN = job_service_pb2.GetJobRequest(id="01a219c1-9152-7fa5-b02b-5e34d8d8416b")


@pytest.fixture
def own_certs(certs: Path, tmp_path: Path) -> Path:
    """A copy of the certificates with one of a gateway, which a test may change."""
    copy = Path(shutil.copytree(certs, tmp_path / "certs"))
    _certs(copy, "issue", "gateway-host1", "--role=gateway")
    return copy


@pytest.fixture
def running(own_certs: Path, tmp_path: Path) -> Iterator[Server]:
    """A server with these certificates."""
    with Server.started(BIN, own_certs, tmp_path / "state") as server:
        yield server


@pytest.fixture
def files(own_certs: Path) -> CertificateFiles:
    """The files of the gateway and the agent."""
    names = ("ca.pem", "gateway-host1.pem", "gateway-host1-key.pem")
    return CertificateFiles(*(own_certs / name for name in names))


@pytest.fixture
async def host(running: Server, files: CertificateFiles) -> AsyncIterator[GrpcHost]:
    """The server of an agent."""
    host = GrpcHost(HostAddress(running.address, "", files.ca, files.cert, files.key))
    yield host
    await host.close()


async def test_an_agent_uses_a_new_certificate_after_the_former_one_was_revoked(
    host: GrpcHost, own_certs: Path
) -> None:
    await host.describe()
    _certs(own_certs, "revoke", "gateway-host1.pem")
    with pytest.raises(HostUnavailable) as caught:
        await _forever(host.describe)
    assert caught.value.reason == "CERTIFICATE_REVOKED"
    _certs(own_certs, "renew", "gateway-host1")
    with pytest.raises(HostUnavailable):
        await host.describe()
    assert (await host.describe()).max_jobs > 0


async def test_an_agent_uses_a_renewed_certificate_before_the_former_one_is_refused(
    host: GrpcHost, own_certs: Path
) -> None:
    former = host.connections.current
    _certs(own_certs, "renew", "gateway-host1")
    assert await host.connections.refresh()
    assert host.connections.current is not former
    assert (await host.describe()).max_jobs > 0


async def test_a_gateway_uses_a_new_certificate_after_the_former_one_was_revoked(
    running: Server, files: CertificateFiles, own_certs: Path
) -> None:
    times = [0.0]
    nodes = NodeConnections(NodeCertificate(files), lambda: times[-1])

    async def ask() -> None:
        async with nodes.open(Node("one", running.address)) as connection:
            await connection.unary(GET_JOB, UNKNOWN, "CN=alice,OU=Admin", 10)

    with pytest.raises(NodeError, match="does not exist"):
        await ask()
    _certs(own_certs, "revoke", "gateway-host1.pem")
    with pytest.raises(NodeUnreachable, match="refuses the certificate of the gateway"):
        await _forever(ask)
    _certs(own_certs, "renew", "gateway-host1")
    times.append(6.0)
    with pytest.raises(NodeError, match="does not exist"):
        await ask()
    await nodes.close()


async def _forever(call: Callable[[], Awaitable[object]]) -> None:
    """Repeat a call until it fails with another error than that of the node, but not for long."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(NodeError):
                await call()


def _certs(directory: Path, *arguments: str) -> None:
    argv: list[str | Path] = [BIN / "jobworkerd", "certs", *arguments, "--dir", directory]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
