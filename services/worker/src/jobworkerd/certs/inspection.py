"""Describes the certificates in a directory and their problems."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jobworkerd import pem_parser, server_certificate
from jobworkerd.certs import files
from jobworkerd.certs.errors import CertificatesError
from jobworkerd.certs.roles import Role
from jobworkerd.pem_parser import DamagedPem, damage_reported
from jobworkerd.revocations import Revocations
from jobworkerd.server_pair import ServerPair


@dataclasses.dataclass(frozen=True)
class Description:
    """A certificate in words. `serial` is hexadecimal, `fingerprint` SHA-256.

    Each of `problems` is an error message.
    """

    file: Path
    subject: str
    role: str
    hosts: tuple[str, ...]
    not_after: dt.datetime
    days_left: int
    serial: str
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
    trust = _Trust(
        load_authorities(directory) if files.AUTHORITY in names else [], load_revocations(directory)
    )
    return [
        _describe(directory, name, certificate, trust)
        for name in names
        for certificate in (
            trust.authorities
            if name == files.AUTHORITY
            else [load_certificate(files.certificate_file(directory, name))]
        )
    ]


def check_server(directory: Path) -> None:
    """Check that a server can use the files of a directory, and that clients accept it now.

    Raises:
        CertificatesError: a file is missing, damaged or readable for other users; clients refuse the
            certificate; the key does not fit; or no authority signed the revocation lists.
        OSError: a file cannot be read.
    """
    files.check_server_files(directory)
    load_authorities(directory)
    load_revocations(directory)
    pair = ServerPair(*files.read_pair(directory, files.SERVER))
    if problem := pair.problem() or pair.validity_problem():
        raise CertificatesError(f"{files.certificate_file(directory, files.SERVER)} {problem}")


def load_revocations(directory: Path) -> Revocations | None:
    """Return the revocation lists in a directory, or None if it has none.

    Raises:
        CertificatesError: the lists or the authorities are damaged, or no authority signed a list.
        OSError: a file cannot be read.
    """
    path = files.revocations_file(directory)
    try:
        crl = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return Revocations(crl, load_authorities(directory))
    except ValueError as error:
        raise files.unusable_revocations(path, error) from error


def load_authorities(directory: Path) -> list[x509.Certificate]:
    """Return the authorities in `ca.pem`.

    Raises:
        CertificatesError: the file has no certificate, or a damaged one.
        OSError: the file cannot be read.
    """
    return _load(files.certificate_file(directory, files.AUTHORITY), pem_parser.certificates)


def load_certificate(path: Path) -> x509.Certificate:
    """Return the certificate in a PEM file.

    Raises:
        CertificatesError: the file has no certificate, or a damaged one.
        OSError: the file cannot be read.
    """
    (certificate,) = _load(path, lambda pem: [pem_parser.certificate(pem)])
    return certificate


def _load(path: Path, parse: Callable[[bytes], list[x509.Certificate]]) -> list[x509.Certificate]:
    pem = path.read_bytes()
    try:
        certificates = parse(pem)
        for each in certificates:
            pem_parser.check_extensions(each)
    except DamagedPem as error:
        raise CertificatesError(f"{path} is not a PEM certificate; replace or remove it") from error
    return certificates


def hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names and IP addresses in a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


def role(certificate: x509.Certificate) -> str:
    """Return the role of a certificate, such as `Admin`; `none` if it has none, and `CA` for an authority."""
    if _is_authority(certificate):
        return "CA"
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    found = {str(unit.value).casefold() for unit in units}
    for candidate in (Role.ADMIN, Role.VIEWER, Role.DELEGATE, Role.GATEWAY):
        if candidate in found and _is_for(certificate, ExtendedKeyUsageOID.CLIENT_AUTH):
            return candidate.capitalize()
    return "server" if _is_for(certificate, ExtendedKeyUsageOID.SERVER_AUTH) else "none"


@dataclasses.dataclass(frozen=True)
class _Trust:
    authorities: Sequence[x509.Certificate]
    revocations: Revocations | None


def _describe(directory: Path, name: str, certificate: x509.Certificate, trust: _Trust) -> Description:
    path = files.certificate_file(directory, name)
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    return Description(
        file=path,
        subject=certificate.subject.rfc4514_string(),
        role=role(certificate),
        hosts=hosts(certificate),
        not_after=certificate.not_valid_after_utc,
        days_left=left.days,
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        problems=(
            *_lifetime_problems(name, certificate, left),
            *_server_problems(directory, name, certificate),
            *_issuer_problems(path, certificate, trust),
            *_revocation_problems(name, certificate, trust.revocations),
            *_key_problems(files.key_file(directory, name)),
        ),
    )


def _lifetime_problems(name: str, certificate: x509.Certificate, left: dt.timedelta) -> list[str]:
    start = certificate.not_valid_before_utc
    if dt.datetime.now(dt.UTC) < start:
        return [f"{name} is not valid before {start:%Y-%m-%dT%H:%M:%SZ}; check this host's clock"]
    if left <= dt.timedelta(0):
        return [f"{name} has expired; {_renewal(name)}"]
    if left <= server_certificate.RENEWAL_NOTICE:
        return [f"{name} expires in {left.days} days; {_renewal(name)}"]
    return []


def _server_problems(directory: Path, name: str, certificate: x509.Certificate) -> list[str]:
    if name != files.SERVER:
        return []
    key = files.key_file(directory, name)
    if key.exists():
        problem = ServerPair(files.certificate_file(directory, name).read_bytes(), key.read_bytes()).problem()
    else:
        problem = server_certificate.problem(certificate)
    return [f"{name} {problem}"] if problem else []


def _renewal(name: str) -> str:
    if name == files.AUTHORITY:
        return "replace it with: jobworkerd certs rollover"
    return f"renew it with: jobworkerd certs renew {name}"


def _issuer_problems(path: Path, certificate: x509.Certificate, trust: _Trust) -> list[str]:
    name = path.stem
    if not trust.authorities:
        return [f"{name} cannot be checked: {files.AUTHORITY}.pem is missing; copy it to this directory"]
    if name == files.AUTHORITY or _leads_to(certificate, _intermediates(path), trust.authorities):
        return []
    return [f"{name} was not issued by the authority in {files.AUTHORITY}.pem; {_renewal(name)}"]


def _intermediates(path: Path) -> list[x509.Certificate]:
    return _load(path, pem_parser.certificates)[1:]


def _leads_to(
    certificate: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
) -> bool:
    """Return whether an authority issued a certificate, directly or through intermediate certificates."""
    if any(is_issuer(each, certificate) for each in authorities):
        return True
    return any(
        is_issuer(each, certificate)
        and _leads_to(each, [other for other in intermediates if other is not each], authorities)
        for each in intermediates
    )


def _revocation_problems(
    name: str, certificate: x509.Certificate, revocations: Revocations | None
) -> list[str]:
    if revocations is None or certificate not in revocations:
        return []
    return [f"{name} is revoked; {_renewal(name)}"]


def is_issuer(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Return whether an authority issued a certificate."""
    try:
        with damage_reported():
            certificate.verify_directly_issued_by(authority)
    except DamagedPem:
        return False
    return True


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


def _is_for(certificate: x509.Certificate, purpose: x509.ObjectIdentifier) -> bool:
    """Return whether a certificate has a purpose. Without an extended key usage it has all of them."""
    try:
        return purpose in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
