"""Describes the certificates in a directory and their problems."""

import dataclasses
import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jobworkerd import server_certificate
from jobworkerd.certs import files
from jobworkerd.certs.errors import CertificatesError
from jobworkerd.certs.roles import Role

RENEWAL_NOTICE = dt.timedelta(days=30)
"""A certificate that expires within this time has a problem."""


@dataclasses.dataclass(frozen=True)
class Description:
    """A certificate in words. `fingerprint` is SHA-256; each of `problems` is an error message."""

    file: Path
    subject: str
    role: str
    hosts: tuple[str, ...]
    not_after: dt.datetime
    days_left: int
    fingerprint: str
    problems: tuple[str, ...]


def describe_all(directory: Path) -> list[Description]:
    """Return the certificates of a directory: the authority, the server, then the others by name.

    Raises:
        CertificatesError: the directory has no certificates, or a file is not a certificate.
        OSError: a file cannot be read.
    """
    names = files.names(directory)
    if not names:
        raise CertificatesError(
            f"{directory} has no certificates; create them with: jobworkerd certs init --dir {directory}"
        )
    issuer = (
        load_certificate(files.certificate_file(directory, files.AUTHORITY))
        if files.AUTHORITY in names
        else None
    )
    return [_describe(directory, name, issuer) for name in names]


def load_certificate(path: Path) -> x509.Certificate:
    """Return the certificate in a PEM file.

    Raises:
        CertificatesError: the file has no certificate.
        OSError: the file cannot be read.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise CertificatesError(f"{path} is not a PEM certificate; replace or remove it") from error


def hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names and IP addresses in a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


def role(certificate: x509.Certificate) -> str:
    """Return the role of a certificate: `CA`, `server`, `Admin`, `Viewer` or `none`."""
    if _is_authority(certificate):
        return "CA"
    if ExtendedKeyUsageOID.CLIENT_AUTH not in _purposes(certificate):
        return "server" if ExtendedKeyUsageOID.SERVER_AUTH in _purposes(certificate) else "none"
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    found = {str(unit.value).casefold() for unit in units}
    for candidate in (Role.ADMIN, Role.VIEWER):
        if candidate in found:
            return candidate.capitalize()
    return "none"


def _describe(directory: Path, name: str, issuer: x509.Certificate | None) -> Description:
    path = files.certificate_file(directory, name)
    certificate = load_certificate(path)
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    return Description(
        file=path,
        subject=certificate.subject.rfc4514_string(),
        role=role(certificate),
        hosts=hosts(certificate),
        not_after=certificate.not_valid_after_utc,
        days_left=left.days,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        problems=(
            *_lifetime_problems(name, certificate, left),
            *_server_problems(name, certificate),
            *_issuer_problems(name, certificate, issuer),
            *_key_problems(files.key_file(directory, name)),
        ),
    )


def _lifetime_problems(name: str, certificate: x509.Certificate, left: dt.timedelta) -> list[str]:
    start = certificate.not_valid_before_utc
    if dt.datetime.now(dt.UTC) < start:
        return [f"{name} is not valid before {start:%Y-%m-%dT%H:%M:%SZ}; check this host's clock"]
    if left <= dt.timedelta(0):
        return [f"{name} has expired; {_renewal(name)}"]
    if left <= RENEWAL_NOTICE:
        return [f"{name} expires in {left.days} days; {_renewal(name)}"]
    return []


def _server_problems(name: str, certificate: x509.Certificate) -> list[str]:
    problem = server_certificate.problem(certificate) if name == files.SERVER else ""
    return [f"{name} {problem}"] if problem else []


def _renewal(name: str) -> str:
    command = "init --force" if name == files.AUTHORITY else f"renew {name}"
    return f"renew it with: jobworkerd certs {command}"


def _issuer_problems(name: str, certificate: x509.Certificate, issuer: x509.Certificate | None) -> list[str]:
    if issuer is None:
        return [f"{name} cannot be checked: {files.AUTHORITY}.pem is missing; copy it to this directory"]
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return [f"{name} was not issued by the authority in {files.AUTHORITY}.pem; {_renewal(name)}"]
    return []


def _key_problems(key: Path) -> list[str]:
    # A missing key is not a problem: keys of clients belong on the hosts of the clients.
    if not key.exists():
        return []
    problem = files.key_mode_problem(key)
    return [] if problem is None else [problem]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _purposes(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return []
