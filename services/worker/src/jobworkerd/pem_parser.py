"""Parses certificates, revocation lists and private keys in PEM. All damage is reported with one error.

The parser of the cryptography package raises undocumented exceptions, and it parses some parts of a
certificate only when they are read.
"""

import contextlib
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


class DamagedPem(ValueError):
    """Raised if data cannot be parsed. `str()` is the reason."""


@contextlib.contextmanager
def damage_reported() -> Iterator[None]:
    """Report all errors of the cryptography package as `DamagedPem`, also a signature that is not valid.

    Raises:
        DamagedPem: the package raised an exception.
        MemoryError: the host is exhausted.
    """
    try:
        yield
    except MemoryError:  # the host is exhausted, and the data can be undamaged
        raise
    except ValueError as error:
        raise DamagedPem(str(error)) from error
    except Exception as error:
        # Examples are InvalidVersion, DuplicateExtension, UnsupportedAlgorithm and LookupError.
        raise DamagedPem(f"{type(error).__name__}: {error}") from error


def certificate(pem: bytes) -> x509.Certificate:
    """Return the first certificate. Its names are valid, but its extensions may be damaged.

    Raises:
        DamagedPem: the certificate cannot be parsed.
    """
    with damage_reported():
        return _with_names(x509.load_pem_x509_certificate(pem))


def certificates(pem: bytes) -> list[x509.Certificate]:
    """Return all certificates. Their names are valid, but their extensions may be damaged.

    Raises:
        DamagedPem: the data contains no certificate, or one of them cannot be parsed.
    """
    with damage_reported():
        return [_with_names(each) for each in x509.load_pem_x509_certificates(pem)]


def _with_names(found: x509.Certificate) -> x509.Certificate:
    _ = found.subject, found.issuer
    return found


def check_extensions(found: x509.Certificate) -> None:
    """Parse the extensions of a certificate.

    Raises:
        DamagedPem: an extension cannot be parsed.
    """
    with damage_reported():
        _ = found.extensions


def revocation_list(pem: bytes) -> x509.CertificateRevocationList:
    """Return a revocation list.

    Raises:
        DamagedPem: the list cannot be parsed.
    """
    with damage_reported():
        found = x509.load_pem_x509_crl(pem)
        _ = found.issuer, found.extensions
        return found


def private_key(pem: bytes) -> PrivateKeyTypes:
    """Return a private key.

    Raises:
        DamagedPem: the key cannot be parsed or is encrypted.
    """
    with damage_reported():
        return serialization.load_pem_private_key(pem, password=None)
