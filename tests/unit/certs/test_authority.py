"""Contents of certificates, checked with OpenSSL and the cryptography package."""

import datetime as dt
import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from damaged_pem import with_unknown_version

from jobworkerd.certs import authority, files, inspection
from jobworkerd.certs.errors import CertificatesError
from jobworkerd.certs.roles import Role


def openssl(*arguments: str | Path) -> str:
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    return result.stdout + result.stderr


def load(directory: Path, name: str) -> x509.Certificate:
    return inspection.load_certificate(directory / f"{name}.pem")


@pytest.mark.parametrize(
    ("name", "purpose"), [("server", "sslserver"), ("admin", "sslclient"), ("viewer", "sslclient")]
)
def test_openssl_verifies_the_purpose_strictly(made: Path, name: str, purpose: str) -> None:
    ca, leaf = made / "ca.pem", made / f"{name}.pem"
    output = openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca, leaf)
    assert output == f"{leaf}: OK\n"


@pytest.mark.parametrize(
    ("name", "purpose"), [("server", "sslclient"), ("admin", "sslserver"), ("viewer", "sslserver")]
)
def test_a_certificate_is_for_one_purpose_only(made: Path, name: str, purpose: str) -> None:
    output = openssl("verify", "-purpose", purpose, "-CAfile", made / "ca.pem", made / f"{name}.pem")
    assert "unsuitable certificate purpose" in output


@pytest.mark.parametrize(
    ("name", "bits", "days"),
    [("ca", 4096, 3650), ("server", 2048, 365), ("admin", 2048, 365), ("viewer", 2048, 365)],
)
def test_key_size_and_lifetime(made: Path, name: str, bits: int, days: int) -> None:
    certificate = load(made, name)
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == bits
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == dt.timedelta(days=days)
    assert certificate.not_valid_before_utc < dt.datetime.now(dt.UTC)


@pytest.mark.parametrize(
    ("name", "critical"),
    [("ca", "CA:TRUE, pathlen:0"), ("server", "CA:FALSE"), ("admin", "CA:FALSE"), ("viewer", "CA:FALSE")],
)
def test_basic_constraints_and_key_usage_are_critical(made: Path, name: str, critical: str) -> None:
    text = openssl("x509", "-in", made / f"{name}.pem", "-noout", "-text")
    usage = "Certificate Sign, CRL Sign" if name == "ca" else "Digital Signature"
    lines = [line.strip() for line in text.splitlines()]
    assert lines[lines.index("X509v3 Basic Constraints: critical") + 1] == critical
    assert lines[lines.index("X509v3 Key Usage: critical") + 1] == usage
    assert "X509v3 Subject Key Identifier:" in lines
    assert "X509v3 Authority Key Identifier:" in lines


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("server", "O = jobworker, CN = server"),
        ("admin", "O = jobworker, OU = Admin, CN = admin"),
        ("viewer", "O = jobworker, OU = Viewer, CN = viewer"),
    ],
)
def test_the_organizational_unit_is_the_role(made: Path, name: str, subject: str) -> None:
    assert openssl("x509", "-in", made / f"{name}.pem", "-noout", "-subject") == f"subject={subject}\n"


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (("-checkhost", "worker1.example.com"), "does match"),
        (("-checkip", "192.0.2.7"), "does match"),
        (("-checkip", "::1"), "does match"),
        (("-checkhost", "worker2.example.com"), "does NOT match"),
    ],
)
def test_a_server_certificate_matches_only_its_hosts(
    made: Path, check: tuple[str, str], verdict: str
) -> None:
    assert verdict in openssl("x509", "-in", made / "server.pem", "-noout", *check)


@pytest.mark.parametrize(
    "host", ["", "a b", "-x.example", "x..example", "1.2.3.4.example.", "münchen.de", "a" * 64]
)
def test_an_invalid_host_is_refused(made: Path, host: str) -> None:
    issuer = authority.load_pair(*files.read_pair(made, "ca"))
    with pytest.raises(CertificatesError, match="neither an IP address nor a DNS name"):
        authority.issue(issuer, name="server", role=Role.SERVER, hosts=[host])


def test_a_wildcard_is_accepted_as_a_host(made: Path) -> None:
    issuer = authority.load_pair(*files.read_pair(made, "ca"))
    pair = authority.issue(issuer, name="server", role=Role.SERVER, hosts=["*.example.com", "*.example.com"])
    assert inspection.hosts(pair.certificate) == ("*.example.com",)


def test_a_leaf_does_not_outlive_its_authority(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "LEAF_LIFETIME", dt.timedelta(days=36_500))
    issuer = authority.load_pair(*files.read_pair(made, "ca"))
    pair = authority.issue(issuer, name="bob", role=Role.VIEWER)
    assert pair.certificate.not_valid_after_utc == issuer.certificate.not_valid_after_utc


def common_name(pair: authority.Pair) -> str:
    """Return the CN of a certificate's subject."""
    (name,) = pair.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


@pytest.mark.parametrize("host", ["worker1", "w" * 80, "(none)", "wörker"])
def test_each_authority_has_a_unique_name(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    quick = rsa.generate_private_key
    monkeypatch.setattr(
        rsa, "generate_private_key", lambda public_exponent, **_: quick(public_exponent, 2048)
    )
    first, second = (common_name(authority.make_authority(host)) for _ in range(2))
    today = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    assert first != second
    assert len(first) <= 64
    assert re.fullmatch(rf"jobworker CA {re.escape(host[:30])}w* {today} [0-9a-f]{{6}}", first)


def test_another_authority_is_an_unknown_issuer_and_not_a_bad_signature(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "ca.pem"
    other.write_bytes(authority.make_authority("worker1").certificate_pem)
    output = openssl("verify", "-CAfile", other, made / "server.pem")
    assert "unable to get local issuer certificate" in output


def test_an_expired_authority_cannot_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "AUTHORITY_LIFETIME", dt.timedelta(seconds=1))
    issuer = authority.make_authority("worker1")
    with pytest.raises(CertificatesError, match=r"the authority expired at .* certs init --force"):
        authority.issue(issuer, name="bob", role=Role.VIEWER)


def test_a_leaf_cannot_sign(made: Path) -> None:
    admin = authority.load_pair(*files.read_pair(made, "admin"))
    with pytest.raises(CertificatesError, match="cannot sign"):
        authority.issue(admin, name="bob", role=Role.ADMIN)


def test_a_key_of_another_certificate_is_refused(made: Path) -> None:
    certificate, _ = files.read_pair(made, "admin")
    _, key = files.read_pair(made, "viewer")
    with pytest.raises(CertificatesError, match="belongs to another certificate"):
        authority.load_pair(certificate, key)


@pytest.mark.parametrize("blocks", [(b"", b""), (b"junk", b"junk")])
def test_data_that_is_not_pem_is_refused(blocks: tuple[bytes, bytes]) -> None:
    with pytest.raises(CertificatesError, match="not a PEM certificate"):
        authority.load_pair(*blocks)


def test_a_damaged_certificate_is_refused(made: Path) -> None:
    certificate, key = files.read_pair(made, "admin")
    with pytest.raises(CertificatesError, match="InvalidVersion"):
        authority.load_pair(with_unknown_version(certificate), key)
