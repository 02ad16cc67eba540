"""Revocation of certificates in a directory."""

from pathlib import Path

import pytest
from certificates import DAY, Issued, authority, issue
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from jobworkerd.certs import files, inspection, revocation
from jobworkerd.certs.errors import CertificatesError


def revoked(directory: Path) -> list[str]:
    """Return the names of the revoked certificates."""
    lists = inspection.load_revocations(directory)
    assert lists
    paths = [files.certificate_file(directory, name) for name in files.names(directory)]
    return [each.stem for each in paths if inspection.load_certificate(each) in lists]


@pytest.mark.parametrize("form", ["{:x}", "0x{:X}", "00:{:x}"])
def test_a_serial_number(certs: Path, form: str) -> None:
    serial = inspection.load_certificate(certs / "viewer.pem").serial_number
    assert revocation.revoke(certs, form.format(serial)) == (certs / "crl.pem", serial)
    assert revoked(certs) == ["viewer"]


def test_a_name_comes_before_a_serial_number(certs: Path) -> None:
    _issue(certs, "ada")
    revocation.revoke(certs, "ada")
    assert revoked(certs) == ["ada"]


def test_a_file_elsewhere(certs: Path, tmp_path: Path) -> None:
    elsewhere = (certs / "viewer.pem").rename(tmp_path / "copy.pem")
    revocation.revoke(certs, "admin.pem")
    revocation.revoke(certs, str(elsewhere))
    elsewhere.rename(certs / "viewer.pem")
    assert revoked(certs) == ["admin", "viewer"]


def test_certificates_of_both_authorities_during_a_rollover(rolled_over: Path) -> None:
    _issue(rolled_over, "new")
    for name in ("viewer", "new"):
        revocation.revoke(rolled_over, f"{name}.pem")
    assert revoked(rolled_over) == ["new", "viewer"]


def test_an_intermediate_authority(certs: Path) -> None:
    _issue(certs, "issuing", x509.BasicConstraints(ca=True, path_length=None))
    revocation.revoke(certs, "issuing.pem")
    assert revoked(certs) == ["issuing"]


def test_an_authority_that_the_server_trusts(certs: Path) -> None:
    with pytest.raises(CertificatesError, match=r"ca\.pem is an authority in ca\.pem; replace it with"):
        revocation.revoke(certs, "ca.pem")


def test_a_certificate_of_another_authority(certs: Path) -> None:
    other = authority(ec.generate_private_key(ec.SECP256R1()))
    (certs / "other.pem").write_bytes(issue(other).certificate)
    with pytest.raises(CertificatesError, match=r"other\.pem was not issued by an authority whose key is in"):
        revocation.revoke(certs, "other.pem")


@pytest.mark.parametrize("what", ["nobody", "nobody.pem", "", "0x", ":"])
def test_something_else(certs: Path, what: str) -> None:
    with pytest.raises(CertificatesError, match=r"is neither a file, nor a name .*, nor a serial number"):
        revocation.revoke(certs, what)


def test_a_damaged_list_stays(certs: Path) -> None:
    (certs / "crl.pem").write_text("nonsense")
    with pytest.raises(CertificatesError, match=r"crl\.pem is unusable .*; restore it"):
        revocation.revoke(certs, "viewer.pem")
    assert (certs / "crl.pem").read_text() == "nonsense"


def test_the_key_of_the_authority_is_elsewhere(certs: Path) -> None:
    (certs / "ca-key.pem").unlink()
    with pytest.raises(CertificatesError, match=r"ca-key\.pem is missing; run this command where the key"):
        revocation.revoke(certs, "viewer.pem")


def _issue(directory: Path, name: str, *extensions: x509.ExtensionType) -> None:
    ca = Issued(*files.read_pair(directory, "ca"))
    (directory / f"{name}.pem").write_bytes(issue(ca, end=90 * DAY, extensions=extensions).certificate)
