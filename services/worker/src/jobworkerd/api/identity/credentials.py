"""Credentials for mTLS: the server certificate and the authority of the client certificates."""

import asyncio
import concurrent.futures
import contextlib
import datetime as dt
import os
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import structlog
from cryptography import x509

from jobworkerd import server_certificate
from jobworkerd.errors import SupervisorUnavailable
from jobworkerd.protocol import messages
from jobworkerd.protocol.client import SupervisorClient, SupervisorFault
from jobworkerd.startup import CannotStart

_NO_PASSWORD = ""

_FRESH_SECONDS = 0.1
"""Maximum age of a response of the supervisor. Connecting needs no certificate, so a flood of connections
must not become a flood of requests to the supervisor, which take 0.1 ms each."""

_ANSWER_SECONDS = 5.0
"""A connection waits this long for the supervisor. After that it gets the current certificates."""

_POLL_SECONDS = 1.0
"""Interval for checking open connections against a replaced authority and open streams against expiry."""


class Certificates:
    """The `ca.pem`, `server.pem` and `server-key.pem` of the server.

    This process cannot read them, so it requests them from the supervisor: when a client connects and once
    per second. Replacing the files needs no restart. If new files are unusable, the current ones stay in
    use.
    """

    def __init__(
        self, directory: Path, supervisor: SupervisorClient, on_authority: Callable[[bytes], None]
    ) -> None:
        """Messages contain `directory`. `on_authority` gets each new `ca.pem` before it is used."""
        self._directory = directory
        self._supervisor = supervisor
        self._on_authority = on_authority
        self._loop = asyncio.get_running_loop()
        self._version: tuple[int, ...] = ()
        self._problem = ""
        self._certificate: x509.Certificate | None = None
        self._validity_problem = ""
        self._request: asyncio.Task[None] | None = None
        self._responded = 0.0
        self._current: grpc.ServerCertificateConfiguration | None = None
        self._in_use: grpc.ServerCertificateConfiguration | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that require a client certificate.

        Raises:
            CannotStart: a file is missing or unusable.
            SupervisorUnavailable: the supervisor ends before it responds.
        """
        files = await self._supervisor.certificates(())
        self._version = files.version
        self._current = self._in_use = self._take(files)
        self._warn_of_validity()
        return grpc.dynamic_ssl_server_credentials(
            self._in_use,
            self._renewed,  # type: ignore[arg-type]  # the stub omits None, which means no change
            require_client_authentication=True,
        )

    async def poll(self, check: Callable[[], None]) -> None:
        """Check for replaced files once per second, then call `check`. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            await self._refresh()
            self._warn_of_validity()
            check()

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return new certificates, or None. gRPC calls this for each connection, in a separate thread."""
        pending = asyncio.run_coroutine_threadsafe(self._refresh(), self._loop)
        try:
            pending.result(_ANSWER_SECONDS)
        except (TimeoutError, concurrent.futures.CancelledError):
            pending.cancel()
        current = self._current
        if current is self._in_use:
            return None
        self._in_use = current
        return current

    async def _refresh(self) -> None:
        """Load replaced files for the next connections."""
        if self._request is None:
            if time.monotonic() < self._responded + _FRESH_SECONDS:
                return
            self._request = self._loop.create_task(self._request_files())
        await asyncio.shield(self._request)

    async def _request_files(self) -> None:
        try:
            self._replace(await self._supervisor.certificates(self._version))
        except (CannotStart, SupervisorFault) as error:
            self._report(str(error))
        except SupervisorUnavailable:
            # The supervisor has ended, so this process ends, too.
            return
        finally:
            self._request = None
            self._responded = time.monotonic()

    def _replace(self, files: messages.Certificates) -> None:
        if files.version == self._version and not files.problem:
            return
        # Set before the files are loaded, so that unusable files are reported once.
        self._version = files.version or self._version
        self._current = self._take(files)
        self._problem = ""
        self._log.info("certificates renewed")

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._log.warning("certificates not renewed", reason=problem)

    def _take(self, files: messages.Certificates) -> grpc.ServerCertificateConfiguration:
        if files.problem:
            raise CannotStart(files.problem)
        try:
            certificate = x509.load_pem_x509_certificate(files.certificate)
            self._check_key(certificate)
            _check_fit(files)
            self._on_authority(files.ca)
        except (ssl.SSLError, ValueError) as error:
            raise CannotStart(
                f"{self._directory}: ca.pem, server.pem and server-key.pem do not fit together or are "
                f"damaged ({getattr(error, 'reason', None) or error}); "
                "create new ones with: jobworkerd certs init --force"
            ) from error
        self._certificate = certificate
        return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.ca)

    def _check_key(self, certificate: x509.Certificate) -> None:
        if problem := server_certificate.problem(certificate):
            raise CannotStart(f"{self._directory}/server.pem {problem}")

    def _warn_of_validity(self) -> None:
        """Log once if the certificate is not valid now. The server and its jobs continue."""
        assert self._certificate
        problem = server_certificate.validity_problem(self._certificate, dt.datetime.now(dt.UTC))
        if problem and problem != self._validity_problem:
            reason = (
                f"{self._directory}/server.pem {problem}; clients refuse it; "
                "issue a new one with: jobworkerd certs issue server --role server --force"
            )
            self._log.warning("server certificate not valid", reason=reason)
        self._validity_problem = problem


def _check_fit(files: messages.Certificates) -> None:
    """Load the files to get the reason for an error: gRPC reports only that it cannot listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _as_file(files.certificate) as certificate, _as_file(files.key) as key, _as_file(files.ca) as ca:
        context.load_cert_chain(certificate, key, password=_NO_PASSWORD)
        context.load_verify_locations(ca)


@contextlib.contextmanager
def _as_file(contents: bytes) -> Iterator[str]:
    """Yield a path for the contents, because the ssl module loads certificates and keys only from files."""
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, contents)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
