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


def test_a_renewed_certificate_keeps_all_but_its_key_and_serial_number(certs: Path) -> None:
    for name in ("server", "viewer"):
        path = certs / f"{name}.pem"
        before = inspection.load_certificate(path)
        assert issuance.renew(certs, [name]) == [certs / f"{name}-key.pem", path]
        after = inspection.load_certificate(path)
        assert (after.subject, inspection.role(after)) == (before.subject, inspection.role(before))
        assert inspection.hosts(after) == inspection.hosts(before)
        assert after.serial_number != before.serial_number
        authority.load_pair(path.read_bytes(), (certs / f"{name}-key.pem").read_bytes())
        assert after.public_key() != before.public_key()


def test_all_are_renewed_except_the_authority(certs: Path) -> None:
    before = {path.name: path.read_bytes() for path in certs.glob("*.pem")}
    issuance.renew_all(certs)
    unchanged = {name for name, pem in before.items() if (certs / name).read_bytes() == pem}
    assert unchanged == {"ca.pem", "ca-key.pem"}


def test_nothing_is_renewed_if_one_certificate_cannot_be(certs: Path) -> None:
    before = (certs / "viewer.pem").read_bytes()
    with pytest.raises(CertificatesError, match=r"alice\.pem is missing; create it"):
        issuance.renew(certs, ["viewer", "alice"])
    (certs / "other.pem").write_bytes((certs / "ca.pem").read_bytes())
    with pytest.raises(CertificatesError, match=r"other\.pem is the certificate of an authority"):
        issuance.renew_all(certs)
    assert (certs / "viewer.pem").read_bytes() == before


def test_the_authority_is_not_renewed(certs: Path) -> None:
    with pytest.raises(CertificatesError, match="is the name of the authority"):
        issuance.renew(certs, ["ca"])


def test_a_directory_without_certificates_has_none_to_renew(tmp_path: Path) -> None:
    with pytest.raises(CertificatesError, match="no certificates to renew"):
        issuance.renew_all(tmp_path)
