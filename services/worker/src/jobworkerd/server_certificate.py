"""Checks of a server certificate: whether gRPC clients accept it, and whether it is valid now.

TLS libraries load keys that no client negotiates, and each client then reports a different failure. The
server therefore checks its certificate before it uses it.
"""

import datetime as dt
import ssl
from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID

from jobworkerd.pem_parser import DamagedPem, damage_reported

_MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 8192
"""BoringSSL, the TLS library of gRPC, rejects longer keys."""

_ACCEPTED = "use RSA with 2048 to 8192 bits, or ECDSA on P-256 or P-384, as `jobworkerd certs` does"
_CURVES = (ec.SECP256R1, ec.SECP384R1)

_ISSUE = "issue one with: jobworkerd certs issue server --role server --force"
RENEW = "renew it with: jobworkerd certs renew server"

RENEWAL_NOTICE = dt.timedelta(days=30)
"""A certificate that expires within this time has a notice."""

_PURPOSES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


def problem(certificate: x509.Certificate) -> str:
    """Return why clients refuse a server with this certificate, or an empty string if they accept it.

    `validity_problem` checks the dates.
    """
    try:
        with damage_reported():
            return _key_problem(certificate) or _usage_problem(certificate)
    except DamagedPem as error:
        return f"cannot be parsed ({error}); {RENEW}"


def validity_problem(certificate: x509.Certificate, now: dt.datetime) -> str:
    """Return why clients refuse this certificate now, or an empty string if it is valid."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        return f"is not valid before {start:%Y-%m-%dT%H:%M:%SZ}; check this host's clock"
    if now > end:
        return f"expired at {end:%Y-%m-%dT%H:%M:%SZ}; {RENEW}"
    return ""


def expiry_notice(certificate: x509.Certificate, now: dt.datetime) -> str:
    """Return when the certificate expires if that is within `RENEWAL_NOTICE`, or an empty string."""
    end = certificate.not_valid_after_utc
    return f"expires at {end:%Y-%m-%dT%H:%M:%SZ}; {RENEW}" if now + RENEWAL_NOTICE > end else ""


def pair_problem(error: ssl.SSLError, key: bytes) -> str:
    """Return why the certificate and its key cannot be loaded, for an error of `load_cert_chain`."""
    if b"ENCRYPTED" in key:
        return (
            "has an encrypted key in server-key.pem, and the server has no password; "
            "decrypt it with: openssl pkey -in server-key.pem"
        )
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"does not fit the key in server-key.pem; install both files of one pair, or {RENEW}"
    return f"or server-key.pem is damaged or not PEM ({error.reason or error}); {RENEW}"


def _key_problem(certificate: x509.Certificate) -> str:
    key = _key_name(certificate)
    return f"has a key of type {key}, which gRPC clients do not accept; {_ACCEPTED}" if key else ""


def _key_name(certificate: x509.Certificate) -> str:
    """Return the name of an unsupported key type, or an empty string for a supported one."""
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        return "RSA-PSS"
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return certificate.public_key_algorithm_oid.dotted_string
    if isinstance(key, rsa.RSAPublicKey):
        return "" if _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS else f"RSA with {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if isinstance(key.curve, _CURVES) else f"ECDSA on {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey")


def _usage_problem(certificate: x509.Certificate) -> str:
    for extension in certificate.extensions:
        for why in _missing(extension.value):
            return f"{why}, which gRPC clients require; {_ISSUE}"
    return ""


def _missing(extension: x509.ExtensionType) -> Iterator[str]:
    match extension:
        case x509.KeyUsage(digital_signature=False):
            yield "does not allow digitalSignature (keyUsage)"
        case x509.ExtendedKeyUsage() if _PURPOSES.isdisjoint(extension):
            yield "does not allow serverAuth (extendedKeyUsage)"
