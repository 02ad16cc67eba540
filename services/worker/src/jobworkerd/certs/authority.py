"""Creates the certificate authority and the certificates that it signs (RFC 5280, RFC 9525).

The authority has an RSA 4096 key and is valid for ten years. Leaf certificates have RSA 2048 keys and are
valid for 365 days, but never longer than the authority. If the authority were valid for one year, too, each
renewal of a leaf would change the trust of all hosts.
"""

import dataclasses
import datetime as dt
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jobworkerd import pem_parser
from jobworkerd.certs.errors import CertificatesError
from jobworkerd.certs.hosts import check_host
from jobworkerd.certs.roles import Role
from jobworkerd.pem_parser import DamagedPem, damage_reported

AUTHORITY_LIFETIME = dt.timedelta(days=3650)
LEAF_LIFETIME = dt.timedelta(days=365)

CLOCK_SKEW = dt.timedelta(minutes=5)
"""Certificates are valid from this long before now, for hosts whose clocks are behind."""

_COMMON_NAME_LENGTH = 64
"""Maximum length in characters (RFC 5280, appendix A.1, ub-common-name)."""

PEM = serialization.Encoding.PEM

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as a PEM block."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as a PEM block in unencrypted PKCS #8."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def make_authority(host: str) -> Pair:
    """Return a new self-signed authority, named after the host. An RSA 4096 key takes a second or two."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=4096)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _name(_authority_name(host, identifier), None)
    not_before = _now() - CLOCK_SKEW
    certificate = (
        _builder(name, name, key.public_key())
        .not_valid_before(not_before)
        .not_valid_after(not_before + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate, key)


def issue(authority: Pair, *, name: str, role: Role, hosts: Sequence[str] = ()) -> Pair:
    """Return a new certificate, signed by the authority.

    `name` becomes the CN of the subject. `hosts` are the DNS names and IP addresses of a server, at least
    one. A client has no hosts.

    Raises:
        CertificatesError: the authority has expired or cannot sign, or a host is neither a DNS name nor an IP
            address.
    """
    names = [_general_name(host) for host in dict.fromkeys(hosts)]
    extensions: list[x509.ExtensionType] = [x509.ExtendedKeyUsage([_purpose(role)])]
    if names:
        extensions.append(x509.SubjectAlternativeName(names))
    return _sign(authority, _name(name, role.organizational_unit), extensions)


def renew(authority: Pair, certificate: x509.Certificate) -> Pair:
    """Return a certificate with the subject, the purposes and the hosts of another one, and a new key.

    Raises:
        CertificatesError: the authority has expired or cannot sign.
    """
    kept = [
        extension.value
        for extension in certificate.extensions
        if isinstance(extension.value, x509.ExtendedKeyUsage | x509.SubjectAlternativeName)
    ]
    return _sign(authority, certificate.subject, kept)


def _sign(authority: Pair, subject: x509.Name, extensions: Sequence[x509.ExtensionType]) -> Pair:
    _check_may_sign(authority.certificate)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    not_before = max(_now() - CLOCK_SKEW, authority.certificate.not_valid_before_utc)
    builder = (
        _builder(subject, authority.certificate.subject, key.public_key())
        .not_valid_before(not_before)
        .not_valid_after(min(not_before + LEAF_LIFETIME, authority.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(key_identifier(authority.certificate), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def load_pair(certificate_pem: bytes, key_pem: bytes) -> Pair:
    """Return a pair from its PEM blocks.

    Raises:
        CertificatesError: a block cannot be parsed, or the key is encrypted or of another certificate.
    """
    try:
        certificate, key = pem_parser.certificate(certificate_pem), pem_parser.private_key(key_pem)
        pem_parser.check_extensions(certificate)
        with damage_reported():
            is_pair = certificate.public_key() == key.public_key()
    except DamagedPem as error:
        raise CertificatesError(f"not a PEM certificate with its unencrypted PEM key: {error}") from error
    if not isinstance(key, PrivateKey):
        raise CertificatesError("the key is neither RSA nor ECDSA; use one of these")
    if not is_pair:
        raise CertificatesError("the key belongs to another certificate; use the key of this one")
    return Pair(certificate, key)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def _authority_name(host: str, key: x509.SubjectKeyIdentifier) -> str:
    """Return a unique CN: the host, the date and the first digits of the key identifier.

    A client with the certificate of another authority then reports an unknown issuer. If the names were
    equal, it would report a bad signature.
    """
    end = f" {_now():%Y-%m-%d} {key.digest.hex()[:6]}"
    start = f"jobworker CA {host}"
    return start[: _COMMON_NAME_LENGTH - len(end)] + end


def _general_name(host: str) -> x509.GeneralName:
    check_host(host)
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common_name: str, organizational_unit: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "jobworker")]
    if organizational_unit is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, organizational_unit))
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    # TLS 1.3 uses the key of a leaf for signatures only. RSA key exchange needed keyEncipherment.
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _purpose(role: Role) -> x509.ObjectIdentifier:
    return ExtendedKeyUsageOID.SERVER_AUTH if role is Role.SERVER else ExtendedKeyUsageOID.CLIENT_AUTH


def key_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the identifier of the authority's key for a certificate or a list that it signs."""
    # Other tools may derive the identifier of the authority's key in another way than RFC 5280's hash.
    try:
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _check_may_sign(authority: x509.Certificate) -> None:
    if authority.not_valid_after_utc <= _now():
        raise CertificatesError(
            f"the authority expired at {authority.not_valid_after_utc:%Y-%m-%d}; "
            "create a new one with: jobworkerd certs init --force"
        )
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        raise CertificatesError(
            "ca.pem cannot sign certificates (basicConstraints has no CA:TRUE); "
            "use the certificate of an authority"
        )
