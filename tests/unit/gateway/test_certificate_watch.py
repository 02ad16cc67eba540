"""The certificates with which a gateway calls others: notices, metrics, health and renewal."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import Authority, Logged, eventually
from certificates import DAY, Issued, issue, pair
from cryptography import x509
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fake_cluster import FakeEngine
from jobworker_cluster import client_certificates
from jobworker_gateway import certificate_watch, node_connections
from jobworkerd.config import MetricsConfig
from running_gateway import Gateway, running_gateway
from server_fixtures import authority, logged

__all__ = ["authority", "logged"]

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a gateway look at its certificates often."""
    monkeypatch.setattr(certificate_watch, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(node_connections, "_LOOK_SECONDS", 0.0)


def _issue(authority: Authority, days: int, common_name: str = "gateway") -> Issued:
    names = ((NameOID.ORGANIZATIONAL_UNIT_NAME, "Gateway"), (NameOID.COMMON_NAME, common_name))
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
    return issue(pair(authority.ca), subject=subject, end=days * DAY)


def _write(gateway: Gateway, issued: Issued) -> None:
    """Replace the files as `jobworkerd certs` does."""
    directory = gateway.certs
    for name, content in (("gateway-key.pem", issued.key), ("gateway.pem", issued.certificate)):
        (directory / "new").write_bytes(content)
        (directory / "new").rename(directory / name)


def _warnings(logged: Logged) -> list[str]:
    return [str(line["reason"]) for line in logged if line["event"] == "certificate expires soon"]


async def _until_status(gateway: Gateway, wanted: int) -> None:
    async with gateway.client("Viewer") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="certificates")
        )
        async with asyncio.timeout(20):
            async for answer in watch:
                if answer.status == wanted:
                    return


async def test_a_certificate_for_nodes_that_expires_is_reported_until_it_is_renewed(
    tmp_path: Path, authority: Authority, logged: Logged
) -> None:
    async with running_gateway(tmp_path, authority, logged) as gateway:
        await _until_status(gateway, SERVING)
        assert not _warnings(logged)
        _write(gateway, _issue(authority, 10, "gateway-host1"))
        await _until_status(gateway, NOT_SERVING)
        (warning,) = _warnings(logged)
        assert warning.startswith(f"{gateway.certs}/gateway.pem expires at 20")
        assert "with: jobworkerd certs renew gateway-host1;" in warning
        _write(gateway, _issue(authority, 90))
        await _until_status(gateway, SERVING)
        assert len(_warnings(logged)) == 1


async def test_a_renewed_certificate_leaves_the_notices_of_the_others(
    tmp_path: Path, authority: Authority, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = _issue(authority, 5).certificate
    kubeconfig = client_certificates.of_kubeconfig("/kubeconfig", "gateway", pem)
    monkeypatch.setattr(FakeEngine, "certificate", kubeconfig)
    async with running_gateway(tmp_path, authority, logged) as gateway:
        _write(gateway, _issue(authority, 10))
        await eventually(lambda: len(_warnings(logged)) == 2)
        assert any("/kubeconfig expires at " in each for each in _warnings(logged))
        _write(gateway, _issue(authority, 90))
        await eventually(
            lambda: sum(line["event"] == "certificate for nodes renewed" for line in logged) == 2
        )
        # The watch has looked at both certificates since.
        await _until_status(gateway, NOT_SERVING)
        monkeypatch.setattr(FakeEngine, "certificate", None)
        await _until_status(gateway, SERVING)


async def test_a_scrape_has_the_expiry_of_each_certificate(
    tmp_path: Path, authority: Authority, logged: Logged, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    pem = _issue(authority, 5).certificate
    kubeconfig = client_certificates.of_kubeconfig("/kubeconfig", "gateway", pem)
    monkeypatch.setattr(FakeEngine, "certificate", kubeconfig)
    metrics = MetricsConfig(listen=f"127.0.0.1:{port}")
    async with running_gateway(tmp_path, authority, logged, metrics=metrics):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found = (await reader.read()).decode()
        writer.close()
    for name in ("server", "ca", "gateway", "kubeconfig"):
        assert f'jobworker_certificate_expiry_seconds{{certificate="{name}"}} ' in found
    (line,) = [line for line in found.splitlines() if 'certificate="kubeconfig"' in line]
    assert float(line.split()[1]) == kubeconfig.expiry.timestamp()


async def test_files_that_cannot_be_used_are_reported_once(
    tmp_path: Path, authority: Authority, logged: Logged
) -> None:
    async with running_gateway(tmp_path, authority, logged) as gateway:
        await _until_status(gateway, SERVING)
        (gateway.certs / "gateway.pem").write_text("nonsense")
        await eventually(lambda: any(line["event"] == "certificate for nodes not usable" for line in logged))
        _write(gateway, _issue(authority, 90))
        await eventually(lambda: any(line["event"] == "certificate for nodes renewed" for line in logged))
    (line,) = [line for line in logged if line["event"] == "certificate for nodes not usable"]
    assert str(line["reason"]).startswith(f"{gateway.certs}/gateway.pem: ")


@pytest.fixture
def port() -> Iterator[int]:
    """A port that no other program uses."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]
