"""Certificates that `jobworkerd certs` does not make: with any key, subject, validity and extensions."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PrivateKeyTypes
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, as PEM blocks."""

    certificate: bytes
    key: bytes

    def write_server(self, directory: Path) -> None:
        """Write the files of a server. The authority does not change."""
        key = directory / "server-key.pem"
        key.write_bytes(self.key)
        key.chmod(0o600)
        (directory / "server.pem").write_bytes(self.certificate)


def name(*attributes: x509.NameAttribute[str]) -> x509.Name:
    """Return a subject that begins with the OU of an admin."""
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Admin"), *attributes])


def pair(ca: trustme.CA) -> Issued:
    """Return an authority's own certificate and key."""
    return Issued(ca.cert_pem.bytes(), ca.private_key_pem.bytes())


def authority(key: CertificateIssuerPrivateKeyTypes) -> Issued:
    """Return a new authority with a key of any kind."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    builder = _builder(subject, subject, key, -DAY, DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return _signed(builder, key, key)


def issue(
    ca: Issued,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    *,
    subject: x509.Name | None = None,
    start: dt.timedelta = -DAY,
    end: dt.timedelta = DAY,
    extensions: Sequence[x509.ExtensionType] = (),
) -> Issued:
    """Return a certificate for localhost; `start` and `end` of its validity count from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    issuer_key = serialization.load_pem_private_key(ca.key, password=None)
    hosts = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    builder = _builder(subject or name(), issuer.subject, key, start, end)
    for extension in (hosts, *extensions):
        builder = builder.add_extension(extension, critical=False)
    return _signed(builder, issuer_key, key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificateIssuerPrivateKeyTypes,
    start: dt.timedelta,
    end: dt.timedelta,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
    )


def _signed(
    builder: x509.CertificateBuilder, signer: PrivateKeyTypes, key: CertificateIssuerPrivateKeyTypes
) -> Issued:
    # Ed25519 and Ed448 include their own hash.
    hashed = hashes.SHA256() if isinstance(signer, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) else None
    return Issued(
        builder.sign(signer, hashed).public_bytes(serialization.Encoding.PEM),  # type: ignore[arg-type]  # no DH
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
