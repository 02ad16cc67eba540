"""Read and check the three PEM files of a connection before gRPC uses them."""

import ssl
from pathlib import Path

import grpc

from jobworker_client.config import ClientConfig
from jobworker_client.errors import InvalidCertificateFile
from jobworker_client.pem import certificate_fault, key_fault

__all__ = ["read_credentials"]

MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")
# The server and the library of gRPC decide about weak keys, not the local OpenSSL.
POLICY = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


def read_credentials(config: ClientConfig) -> grpc.ChannelCredentials:
    """Return the channel credentials from the CA, the certificate and the key.

    Raises:
        InvalidCertificateFile: a file cannot be read or used, or the key belongs to another certificate.
    """
    ca, cert, key = _read(config.ca), _read(config.cert), _read(config.key)
    for file, fault in (
        (config.ca, certificate_fault(ca)),
        (config.cert, certificate_fault(cert)),
        (config.key, key_fault(key)),
    ):
        if fault is not None:
            raise InvalidCertificateFile(f"{file}: {fault}")
    _check_contents(config)
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidCertificateFile(f"{file}: cannot read the file: {error.strerror}") from error


def _check_contents(config: ClientConfig) -> None:
    """Check the files with OpenSSL, whose errors are more precise than those of gRPC.

    OpenSSL reads the files a second time, so this skips pipes such as a shell's `<(command)`.
    """
    if config.ca.is_file():
        _check_certificate(config.ca)
    if config.cert.is_file() and config.key.is_file():
        _check_certificate(config.cert)
        _check_pair(config.cert, config.key)


def _check_certificate(file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError as error:
        raise InvalidCertificateFile(f"{file}: the certificate is damaged; copy the file again") from error


def _check_pair(cert: Path, key: Path) -> None:
    try:
        # With an empty password, an encrypted key is an error instead of a prompt on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason in MISMATCHES:
            raise InvalidCertificateFile(
                f"{key}: the key does not belong to the certificate {cert}; use the key of that certificate"
            ) from error
        if error.reason not in POLICY:
            raise InvalidCertificateFile(f"{key}: the key is damaged; copy the file again") from error
