"""The three PEM files of a connection, read and checked before gRPC gets them."""

import ssl
from pathlib import Path

import grpc

from jobworker_client.errors import CertificateUnusable
from jobworker_client.pem import certificate_fault, key_fault
from jobworker_client.target import Target

__all__ = ["read_credentials"]

MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")
# What OpenSSL refuses as too weak is for the server to judge, and for gRPC's own library.
POLICY = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


def read_credentials(target: Target) -> grpc.ChannelCredentials:
    """Returns what the CA, the certificate and the key make.

    Raises:
        CertificateUnusable: a file cannot be read or used, or the key is another certificate's.
    """
    ca, cert, key = _read(target.ca), _read(target.cert), _read(target.key)
    for file, fault in (
        (target.ca, certificate_fault(ca)),
        (target.cert, certificate_fault(cert)),
        (target.key, key_fault(key)),
    ):
        if fault is not None:
            raise CertificateUnusable(f"{file}: {fault}")
    _check_contents(target)
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateUnusable(f"{file}: cannot read the file: {error.strerror}") from error


def _check_contents(target: Target) -> None:
    """Lets OpenSSL load the files, which is more exact about them than gRPC.

    It reads files alone, once more. What can be read only once, such as a shell's `<(command)`, is left to
    gRPC.
    """
    if target.ca.is_file():
        _check_certificate(target.ca)
    if target.cert.is_file() and target.key.is_file():
        _check_certificate(target.cert)
        _check_pair(target.cert, target.key)


def _check_certificate(file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError as error:
        raise CertificateUnusable(f"{file}: the certificate is damaged; copy the file again") from error


def _check_pair(cert: Path, key: Path) -> None:
    try:
        # An empty password makes an encrypted key an error instead of a question on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason in MISMATCHES:
            raise CertificateUnusable(
                f"{key}: the key does not belong to the certificate {cert}; use the key made with it"
            ) from error
        if error.reason not in POLICY:
            raise CertificateUnusable(f"{key}: the key is damaged; copy the file again") from error
