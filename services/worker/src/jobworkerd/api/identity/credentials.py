"""mTLS: the server's certificate, and the authority that its clients' certificates must come from."""

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
"""How long an answer of the supervisor is used. A flood of connections, which needs no certificate, must not
become a flood of requests to the supervisor: each would cost it 0.1 ms."""

_ANSWER_SECONDS = 5.0
"""How long a connection waits for the supervisor; then it gets the current certificates."""

_POLL_SECONDS = 1.0
"""How soon open connections are checked against a replaced authority, and open streams against the time."""


class Certificates:
    """The server's `ca.pem`, `server.pem` and `server-key.pem`.

    The supervisor reads them, because this process may not. It is asked when a client connects and once
    per second, so that replacing them needs no restart. Unusable files leave the current ones in use.
    """

    def __init__(
        self, directory: Path, supervisor: SupervisorClient, on_authority: Callable[[bytes], None]
    ) -> None:
        """`directory` is for messages only. `on_authority` gets each new `ca.pem` before it is in use."""
        self._directory = directory
        self._supervisor = supervisor
        self._on_authority = on_authority
        self._loop = asyncio.get_running_loop()
        self._version: tuple[int, ...] = ()
        self._problem = ""
        self._certificate: x509.Certificate | None = None
        self._validity_problem = ""
        self._asking: asyncio.Task[None] | None = None
        self._answered = 0.0
        self._current: grpc.ServerCertificateConfiguration | None = None
        self._given: grpc.ServerCertificateConfiguration | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def credentials(self) -> grpc.ServerCredentials:
        """Returns credentials that require a client certificate.

        Raises:
            CannotStart: a file is missing or unusable.
            SupervisorUnavailable: the server ends before it has begun.
        """
        files = await self._supervisor.certificates(())
        self._version = files.version
        self._current = self._given = self._take(files)
        self._warn_of_validity()
        return grpc.dynamic_ssl_server_credentials(
            self._given,
            self._renewed,  # type: ignore[arg-type]  # the stub forgets None, which stands for no change
            require_client_authentication=True,
        )

    async def poll(self, check: Callable[[], None]) -> None:
        """Looks for replaced files once per second, and calls `check` each time; ends by cancellation."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            await self._refresh()
            self._warn_of_validity()
            check()

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC for each connection, one after the other, on a thread of its own."""
        asking = asyncio.run_coroutine_threadsafe(self._refresh(), self._loop)
        try:
            asking.result(_ANSWER_SECONDS)
        except (TimeoutError, concurrent.futures.CancelledError):
            asking.cancel()
        current = self._current
        if current is self._given:
            return None
        self._given = current
        return current

    async def _refresh(self) -> None:
        """Takes replaced files into use; the next connection gets them."""
        if self._asking is None:
            if time.monotonic() < self._answered + _FRESH_SECONDS:
                return
            self._asking = self._loop.create_task(self._ask())
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        try:
            self._replace(await self._supervisor.certificates(self._version))
        except (CannotStart, SupervisorFault) as error:
            self._report(str(error))
        except SupervisorUnavailable:
            # The supervisor ends, and so will this process.
            return
        finally:
            self._asking = None
            self._answered = time.monotonic()

    def _replace(self, files: messages.Certificates) -> None:
        if files.version == self._version and not files.problem:
            return
        # Before they are tried, so that unusable files are reported once.
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
                f"damaged ({getattr(error, 'reason', None) or error}); make new ones with `jobworkerd certs`"
            ) from error
        self._certificate = certificate
        return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.ca)

    def _check_key(self, certificate: x509.Certificate) -> None:
        if problem := server_certificate.problem(certificate):
            raise CannotStart(f"{self._directory}/server.pem {problem}")

    def _warn_of_validity(self) -> None:
        """Logs once that the certificate is not valid now. The server runs on, as its jobs do."""
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
    """Loads the files to have an error: for unusable ones gRPC says only that it cannot listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _as_file(files.certificate) as certificate, _as_file(files.key) as key, _as_file(files.ca) as ca:
        context.load_cert_chain(certificate, key, password=_NO_PASSWORD)
        context.load_verify_locations(ca)


@contextlib.contextmanager
def _as_file(contents: bytes) -> Iterator[str]:
    """Yields a path: the ssl module reads certificates and keys from nothing else."""
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, contents)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
