"""mTLS: the server's certificate, and the authority that its clients' certificates must come from."""

import asyncio
import concurrent.futures
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import structlog

from jobworkerd.api.startup import CannotStart
from jobworkerd.errors import SupervisorUnavailable
from jobworkerd.protocol import messages
from jobworkerd.protocol.client import SupervisorClient, SupervisorFault

_NO_PASSWORD = ""

_FRESH_SECONDS = 0.1
"""How long an answer is good for: a flood of connections, which takes no certificate, shall not be the
supervisor's. It would cost it 0.1 ms each."""

_ANSWER_SECONDS = 5.0
"""How long a connection may wait for the supervisor; then it gets the certificates that are at hand."""


class Certificates:
    """The server's `ca.pem`, `server.pem` and `server-key.pem`.

    The supervisor reads them, as this process may not. It is asked for them again when a client
    connects, though not for each of many, so that renewing them takes no restart; as long as the new
    ones are of no use, the old ones stay.
    """

    def __init__(self, directory: Path, supervisor: SupervisorClient) -> None:
        """`directory` is for messages only."""
        self._directory = directory
        self._supervisor = supervisor
        self._loop = asyncio.get_running_loop()
        self._version: tuple[int, ...] = ()
        self._asked = 0.0
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def credentials(self) -> grpc.ServerCredentials:
        """Returns credentials that require a client certificate.

        Raises:
            CannotStart: a file is missing or of no use.
            SupervisorUnavailable: the server ends before it has begun.
        """
        files = await self._supervisor.certificates(())
        self._version = files.version
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(files),
            self._renewed,  # type: ignore[arg-type]  # the stub forgets None, which stands for no change
            require_client_authentication=True,
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC for each connection, one after the other, on a thread of its own."""
        try:
            files = self._ask() if time.monotonic() > self._asked + _FRESH_SECONDS else None
            if files is None or files.version == self._version:
                return None
            self._version = files.version
            configuration = self._configuration(files)
        except CannotStart as error:
            self._log.warning("certificates not renewed", reason=str(error))
            return None
        self._log.info("certificates renewed")
        return configuration

    def _ask(self) -> messages.Certificates | None:
        """Returns the supervisor's answer, None if there is none: it ends, and so will this process."""
        asking = asyncio.run_coroutine_threadsafe(self._supervisor.certificates(self._version), self._loop)
        try:
            return asking.result(_ANSWER_SECONDS)
        except (SupervisorUnavailable, SupervisorFault, TimeoutError, concurrent.futures.CancelledError):
            asking.cancel()
            return None
        finally:
            self._asked = time.monotonic()

    def _configuration(self, files: messages.Certificates) -> grpc.ServerCertificateConfiguration:
        if files.problem:
            raise CannotStart(files.problem)
        try:
            _check(files)
        except ssl.SSLError as error:
            raise CannotStart(
                f"{self._directory}: ca.pem, server.pem and server-key.pem do not fit together or are "
                f"damaged ({error.reason or error}); make new ones with `jobworkerd certs`"
            ) from error
        return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.ca)


def _check(files: messages.Certificates) -> None:
    """Loads the files for nothing: of bad ones gRPC would say no more than that it cannot listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _as_file(files.certificate) as certificate, _as_file(files.key) as key, _as_file(files.ca) as ca:
        context.load_cert_chain(certificate, key, password=_NO_PASSWORD)
        context.load_verify_locations(ca)


@contextmanager
def _as_file(contents: bytes) -> Iterator[str]:
    """Yields a path: the ssl module reads certificates and keys from nothing else."""
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, contents)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
