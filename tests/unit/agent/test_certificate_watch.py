"""The messages of the agent about its certificates."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from certificates import DAY, Issued, issue, pair
from cryptography import x509
from cryptography.x509.oid import NameOID
from structlog.typing import EventDict

from jobworker_agent.certificate_watch import CertificateWatch
from jobworker_agent.host_address import HostAddress
from jobworker_agent.host_connections import HostConnections
from jobworker_cluster import client_certificates
from jobworker_cluster.access import InvalidKubeconfig
from jobworker_cluster.client_certificates import ClientCertificate

CA = trustme.CA()


@dataclass
class FakeCredentials:
    """Credentials for Kubernetes. `changes` are the results of the next looks."""

    certificate: ClientCertificate | None = None
    changes: list[bool | InvalidKubeconfig] = field(default_factory=list)

    async def refresh(self) -> bool:
        """Return or raise the next result."""
        found = self.changes.pop(0) if self.changes else False
        if isinstance(found, InvalidKubeconfig):
            raise found
        return found


def _issue(days: int) -> Issued:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway-host1")])
    return issue(pair(CA), subject=subject, end=days * DAY)


def _write(directory: Path, issued: Issued) -> None:
    for name, content in (("gateway.pem", issued.certificate), ("gateway-key.pem", issued.key)):
        (directory / "new").write_bytes(content)
        (directory / "new").rename(directory / name)


@pytest.fixture
async def connections(tmp_path: Path) -> AsyncIterator[HostConnections]:
    """Connections to a server that does not exist, with a certificate that is valid for long."""
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    _write(tmp_path, _issue(90))
    names = ("ca.pem", "gateway.pem", "gateway-key.pem")
    found = HostConnections(HostAddress("127.0.0.1:1", "", *(tmp_path / name for name in names)))
    yield found
    await found.close()


async def test_certificates_that_expire_are_logged_once_each(
    connections: HostConnections, tmp_path: Path, log: list[EventDict]
) -> None:
    credentials = FakeCredentials()
    watch = CertificateWatch(connections, credentials)
    await watch.look()
    assert not log
    _write(tmp_path, _issue(10))
    credentials.certificate = client_certificates.of_kubeconfig("/etc/agent", "agent", _issue(5).certificate)
    await watch.look()
    await watch.look()
    renewed, *warnings = log
    assert renewed["event"] == "certificate renewed"
    assert [line["event"] for line in warnings] == ["certificate expires soon"] * 2
    texts = sorted(str(line["error"]) for line in warnings)
    assert texts[0].startswith("/etc/agent expires at ")
    assert "set-credentials agent" in texts[0]
    assert texts[1].startswith(f"{tmp_path}/gateway.pem expires at ")
    assert "with: jobworkerd certs renew gateway-host1;" in texts[1]
    left = {name: expiry - time.time() for name, expiry in watch.expiries().items()}
    assert {name: round(seconds / 86_400) for name, seconds in left.items()} == {
        "gateway": 10,
        "kubeconfig": 5,
    }


async def test_a_renewed_certificate_has_no_notice(
    connections: HostConnections, tmp_path: Path, log: list[EventDict]
) -> None:
    watch = CertificateWatch(connections, FakeCredentials())
    for days in (10, 90, 10):
        _write(tmp_path, _issue(days))
        await watch.look()
    events = [line["event"] for line in log]
    assert events == [
        "certificate renewed",
        "certificate expires soon",
        "certificate renewed",
        "certificate renewed",
        "certificate expires soon",
    ]


async def test_files_that_cannot_be_used_are_logged_with_their_name(
    connections: HostConnections, tmp_path: Path, log: list[EventDict]
) -> None:
    (tmp_path / "gateway-key.pem").write_bytes(_issue(90).key)
    watch = CertificateWatch(connections, FakeCredentials())
    for _ in range(3):
        await watch.look()
    (line,) = log
    assert line["event"] == "certificate not usable"
    assert str(line["error"]).startswith(f"{tmp_path}/gateway.pem: [X509: KEY_VALUES_MISMATCH]")


async def test_a_kubeconfig_that_was_replaced_is_logged(
    connections: HostConnections, log: list[EventDict]
) -> None:
    watch = CertificateWatch(
        connections, FakeCredentials(changes=[True, False, InvalidKubeconfig("damaged")])
    )
    for _ in range(4):
        await watch.look()
    assert [(line["event"], line.get("error")) for line in log] == [
        ("kubeconfig renewed", None),
        ("kubeconfig not usable", "damaged"),
    ]
