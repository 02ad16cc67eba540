"""mTLS: the server's certificate, and the authority that its clients' certificates must come from."""

import ssl
from pathlib import Path

import grpc
import structlog

from jobworkerd.api.startup import CannotStart

_NO_PASSWORD = ""


class Certificates:
    """The files `ca.pem`, `server.pem` and `server-key.pem` of a directory.

    They are read again when a client connects after they were renewed, so that renewing them takes no
    restart; as long as the new ones are of no use, the old ones stay.
    """

    def __init__(self, directory: Path) -> None:
        self._ca = directory / "ca.pem"
        self._certificate = directory / "server.pem"
        self._key = directory / "server-key.pem"
        self._loaded: tuple[int, ...] = ()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def credentials(self) -> grpc.ServerCredentials:
        """Returns credentials that require a client certificate.

        Raises:
            CannotStart: a file is missing or of no use.
        """
        self._loaded = self._versions()
        return grpc.dynamic_ssl_server_credentials(
            self._load(),
            self._renewed,  # type: ignore[arg-type]  # the stub forgets None, which stands for no change
            require_client_authentication=True,
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC for each connection, on a thread of its own."""
        try:
            versions = self._versions()
            if versions == self._loaded:
                return None
            self._loaded = versions
            configuration = self._load()
        except CannotStart as error:
            self._log.warning("certificates not renewed", reason=str(error))
            return None
        self._log.info("certificates renewed")
        return configuration

    def _versions(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in (self._ca, self._certificate, self._key))
        except OSError as error:
            raise _unreadable(error) from error

    def _load(self) -> grpc.ServerCertificateConfiguration:
        try:
            self._check()
            pair = (self._key.read_bytes(), self._certificate.read_bytes())
            return grpc.ssl_server_certificate_configuration([pair], self._ca.read_bytes())
        except ssl.SSLError as error:
            raise CannotStart(
                f"{self._ca.parent}: ca.pem, server.pem and server-key.pem do not fit together or are "
                f"damaged ({error.reason or error}); make new ones with `jobworkerd certs`"
            ) from error
        except OSError as error:
            raise _unreadable(error) from error

    def _check(self) -> None:
        """Loads the files for nothing: of bad ones gRPC would say no more than that it cannot listen."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._key, password=_NO_PASSWORD)
        context.load_verify_locations(self._ca)


def _unreadable(error: OSError) -> CannotStart:
    return CannotStart(
        f"{error.filename or 'a certificate'}: {error.strerror}; "
        "make certificates with `jobworkerd certs init`, or name their directory with --certs-dir"
    )
