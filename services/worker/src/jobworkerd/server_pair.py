"""The certificate that the server presents, and its key."""

import contextlib
import dataclasses
import datetime as dt
import functools
import os
import ssl
from collections.abc import Iterator

from cryptography import x509

from jobworkerd import pem_parser, server_certificate
from jobworkerd.pem_parser import DamagedPem

_NO_PASSWORD = ""


@dataclasses.dataclass(frozen=True)
class ServerPair:
    """The contents of `server.pem` and `server-key.pem`. The former can have intermediate certificates."""

    certificate: bytes
    key: bytes

    def problem(self) -> str:
        """Return why clients refuse a server with this pair, or an empty string; dates are not checked."""
        try:
            return server_certificate.problem(self._parsed) or self._load_problem()
        except DamagedPem as error:
            return f"is damaged ({error}); {server_certificate.RENEW}"

    def validity_problem(self) -> str:
        """Return why clients refuse the certificate now, or an empty string."""
        return server_certificate.validity_problem(self._parsed, dt.datetime.now(dt.UTC))

    def expiry_notice(self) -> str:
        """Return when the certificate expires if that is soon, or an empty string."""
        return server_certificate.expiry_notice(self._parsed, dt.datetime.now(dt.UTC))

    @property
    def expiry(self) -> dt.datetime:
        """The time at which the certificate expires."""
        return self._parsed.not_valid_after_utc

    def tls_context(self, authorities: bytes) -> ssl.SSLContext:
        """Return a context for TLS 1.3 that requires a client certificate of one of the authorities.

        Raises:
            ssl.SSLError: OpenSSL cannot use the pair or an authority.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authorities.decode("ascii"))
        self._load_into(context)
        return context

    @functools.cached_property
    def _parsed(self) -> x509.Certificate:
        return pem_parser.certificate(self.certificate)

    def _load_problem(self) -> str:
        """Load the pair to get the reason for an error: gRPC reports only that it cannot listen."""
        try:
            self._load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except ssl.SSLError as error:
            return server_certificate.pair_problem(error, self.key)
        return ""

    def _load_into(self, context: ssl.SSLContext) -> None:
        with _as_file(self.certificate) as certificate, _as_file(self.key) as key:
            context.load_cert_chain(certificate, key, password=_NO_PASSWORD)


@contextlib.contextmanager
def _as_file(contents: bytes) -> Iterator[str]:
    """Yield a path for the contents, because the ssl module loads certificates and keys only from files."""
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, contents)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
