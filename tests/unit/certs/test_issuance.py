"""Sets of certificates and single certificates in a directory."""

from pathlib import Path

import pytest

from jobworkerd.certs import authority, hosts, inspection, issuance
from jobworkerd.certs.errors import CertificatesError
from jobworkerd.certs.roles import Role


def server_hosts(directory: Path, name: str = "server") -> tuple[str, ...]:
    return inspection.hosts(inspection.load_certificate(directory / f"{name}.pem"))


def test_a_renewed_server_certificate_keeps_its_hosts(certs: Path) -> None:
    before = server_hosts(certs)
    serial = inspection.load_certificate(certs / "server.pem").serial_number
    issuance.issue_one(certs, "server", Role.SERVER, [], replace=True)
    assert server_hosts(certs) == before
    assert inspection.load_certificate(certs / "server.pem").serial_number != serial


def test_a_renewed_server_certificate_gets_the_given_hosts(certs: Path) -> None:
    issuance.issue_one(certs, "server", Role.SERVER, ["new.example"], replace=True)
    assert server_hosts(certs) == ("new.example",)


def test_a_new_server_certificate_has_the_names_of_this_host(certs: Path) -> None:
    issuance.issue_one(certs, "second", Role.SERVER, [], replace=False)
    assert server_hosts(certs, "second") == tuple(hosts.own_hosts())


def test_own_hosts_omit_a_name_that_is_not_a_dns_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "(none)")
    assert hosts.own_hosts() == ["localhost", "127.0.0.1", "::1"]


def test_a_client_has_no_hosts(certs: Path) -> None:
    issuance.issue_one(certs, "alice", Role.ADMIN, [], replace=False)
    assert server_hosts(certs, "alice") == ()


def test_no_key_is_created_if_the_set_cannot_be_written(certs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "make_authority", lambda _: pytest.fail("a key was created"))
    with pytest.raises(CertificatesError, match=r"already has ca.pem"):
        issuance.make_first_set(certs, [], replace=False)
    with pytest.raises(CertificatesError, match="neither an IP address"):
        issuance.make_first_set(certs / "new", ["a b"], replace=False)


def test_without_an_authority_no_certificate_is_issued(certs: Path) -> None:
    (certs / "ca-key.pem").unlink()
    with pytest.raises(CertificatesError, match=r"ca-key\.pem is missing"):
        issuance.issue_one(certs, "alice", Role.ADMIN, [], replace=False)
    assert not (certs / "alice.pem").exists()
