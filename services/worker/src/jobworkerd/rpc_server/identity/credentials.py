"""Credentials for mTLS: the server certificate and the authorities of the client certificates."""

import asyncio
import concurrent.futures
import contextlib
import datetime as dt
import functools
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import grpc
import structlog

from jobworkerd import pem_parser, server_certificate
from jobworkerd.errors import SupervisorUnavailable
from jobworkerd.protocol import messages
from jobworkerd.protocol.replies import SupervisorFault
from jobworkerd.server_pair import ServerPair
from jobworkerd.startup import CannotStart

_FRESH_SECONDS = 0.1
"""Maximum age of a response of the source. Connecting needs no certificate, so a flood of connections
must not become a flood of requests to the supervisor, which take 0.1 ms each."""

_ANSWER_SECONDS = 0.1
"""A connection waits this long for the source. After that it gets the current certificates.

gRPC accepts no other connection meanwhile, and the wait takes a thread that reads from open connections."""

_POLL_SECONDS = 0.5
"""Interval for checking for replaced files, and open streams against revocation and expiry. A revocation
takes effect within one second."""


class CertificateSource(Protocol):
    """Reads the files: the supervisor for an API process, which cannot read them."""

    async def certificates(self, known: tuple[int, ...]) -> messages.Certificates:
        """Return the files, without their contents if `known` is their version.

        Raises:
            SupervisorFault: the supervisor reports an internal error.
            SupervisorUnavailable: the supervisor has ended.
        """


class Certificates:
    """The `ca.pem`, `crl.pem`, `server.pem` and `server-key.pem` of the server.

    They are requested from their source when a client connects and twice per second. Replacing the files
    needs no restart. If a new pair of the server or new authorities and lists are unusable, the current ones
    stay in use. A revocation takes effect even if the pair is unusable.
    """

    def __init__(
        self,
        directory: Path,
        source: CertificateSource,
        on_trust: Callable[[bytes, bytes | None], None],
        on_notice: Callable[[str, str], None],
    ) -> None:
        """Messages contain `directory`. `on_trust` gets each new `ca.pem` and `crl.pem` before they are used.

        `on_notice` gets the name of a certificate, `server` or `ca`, and the reason when it must be renewed.
        When it is renewed, it gets an empty reason.
        """
        self._directory = directory
        self._source = source
        self._on_trust = on_trust
        self._on_notice = on_notice
        self._loop = asyncio.get_running_loop()
        self._version: tuple[int, ...] = ()
        self._unusable: tuple[int, ...] = ()
        self._problem = ""
        self._pair: ServerPair | None = None
        self._ca = b""
        self._crl: bytes | None = None
        self._notices: dict[str, str] = {}
        self._request: asyncio.Task[None] | None = None
        self._responded = 0.0
        self._waited = 0.0
        self._current: grpc.ServerCertificateConfiguration | None = None
        self._in_use: grpc.ServerCertificateConfiguration | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that require a client certificate.

        Raises:
            CannotStart: a file is missing or unusable.
            SupervisorUnavailable: the supervisor ends before it responds.
        """
        files = await self._source.certificates(())
        if problem := files.problem or self._take_trust(files) or self._take_pair(files):
            raise CannotStart(problem)
        self._version = files.version
        self._current = self._in_use = self._configuration()
        self._check_validity()
        return grpc.dynamic_ssl_server_credentials(
            self._in_use,
            self._renewed,  # type: ignore[arg-type]  # the stub omits None, which means no change
            require_client_authentication=True,
        )

    async def poll(self, check: Callable[[], None]) -> None:
        """Check for replaced files twice per second, then call `check`. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            with contextlib.suppress(MemoryError):  # the next look repeats it
                await self._refresh()
                self._check_validity()
                check()

    def tls_context(self) -> ssl.SSLContext:
        """Return a context with the current certificates, for another server of this process."""
        assert self._pair
        return _tls_context(self._pair, self._ca)

    def expiries(self) -> Mapping[str, float]:
        """Return when each certificate in use expires, in seconds since the epoch."""
        if self._pair is None:
            return {}
        return {"server": self._pair.expiry.timestamp(), "ca": _last_expiry(self._ca).timestamp()}

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return new certificates, or None. gRPC calls this for each connection, in a separate thread."""
        # A wait lasts as long as the loop is busy, so the connections of a flood do not wait one by one.
        if time.monotonic() >= max(self._responded, self._waited) + _FRESH_SECONDS:
            self._wait_for_refresh()
        current = self._current
        if current is self._in_use:
            return None
        self._in_use = current
        return current

    def _wait_for_refresh(self) -> None:
        pending = asyncio.run_coroutine_threadsafe(self._refresh(), self._loop)
        try:
            pending.result(_ANSWER_SECONDS)
        except (TimeoutError, concurrent.futures.CancelledError, MemoryError):
            pending.cancel()
        self._waited = time.monotonic()

    async def _refresh(self) -> None:
        """Load replaced files for the next connections."""
        if self._request is None:
            if time.monotonic() < self._responded + _FRESH_SECONDS:
                return
            self._request = self._loop.create_task(self._request_files())
        await asyncio.shield(self._request)

    async def _request_files(self) -> None:
        try:
            self._replace(await self._source.certificates(self._version))
        except SupervisorFault as error:
            self._report(str(error))
        except SupervisorUnavailable:
            # The supervisor has ended, so this process ends, too.
            return
        finally:
            self._request = None
            self._responded = time.monotonic()

    def _replace(self, files: messages.Certificates) -> None:
        if files.problem:
            self._report(files.problem)
            return
        if files.version == self._version:
            return
        # Each part is used even if the other one is unusable.
        problems = [problem for problem in (self._take_trust(files), self._take_pair(files)) if problem]
        self._current = self._configuration()
        if problems and files.version != self._unusable:
            # The next file may be replaced right now, so the files are read again before a warning.
            self._unusable = files.version
            return
        self._version = files.version
        if problems:
            self._report("; ".join(problems))
        else:
            self._problem = ""
            self._log.info("certificates renewed")

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._log.warning("certificates not renewed", reason=problem)

    def _take_trust(self, files: messages.Certificates) -> str:
        """Use the authorities and the revocation lists, or return the reason why they are unusable."""
        removed = files.crl is None and self._crl is not None
        crl = self._crl if removed else files.crl
        try:
            _load_authorities(files.ca)
        except (ssl.SSLError, ValueError) as error:
            why = getattr(error, "reason", None) or error
            return f"{self._directory}/ca.pem is damaged or not PEM ({why}); restore it from a backup"
        try:
            self._on_trust(files.ca, crl)
        except ValueError as error:
            if not removed:
                return (
                    f"{self._directory}/crl.pem is unusable ({error}); restore it, or revoke a certificate "
                    "with: jobworkerd certs revoke"
                )
            # The lists that stay in use are of authorities that have been replaced.
            self._on_trust(files.ca, None)
            crl = None
        self._ca, self._crl = files.ca, crl
        if crl is not None and removed:
            return (
                f"{self._directory}/crl.pem is missing; its last contents stay in use until a restart; "
                "restore it from a backup"
            )
        return ""

    def _take_pair(self, files: messages.Certificates) -> str:
        """Use the pair of the server, or return the reason why it is unusable."""
        pair = ServerPair(files.certificate, files.key)
        if pair == self._pair:
            return ""
        problem = pair.problem()
        if not problem and self._pair is not None:
            # A process that starts in a running server presents an expired certificate: it has no other.
            problem = pair.validity_problem()
        if problem:
            return f"{self._directory}/server.pem {problem}"
        self._pair = pair
        return ""

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        assert self._pair
        return grpc.ssl_server_certificate_configuration([(self._pair.key, self._pair.certificate)], self._ca)

    def _check_validity(self) -> None:
        """Log once if a certificate is not valid now or expires soon. The server and its jobs continue."""
        assert self._pair
        problem = self._pair.validity_problem()
        server = f"{problem}; clients refuse it" if problem else self._pair.expiry_notice()
        for name, notice in (("server", server), ("ca", _authority_notice(self._ca))):
            if notice == self._notices.get(name, ""):
                continue
            self._notices[name] = notice
            reason = f"{self._directory}/{name}.pem {notice}"
            if name == "server" and problem:
                self._log.warning("server certificate not valid", reason=reason)
            elif notice:
                self._log.warning("certificate expires soon", reason=reason)
            self._on_notice(name, notice)


def _load_authorities(pem: bytes) -> None:
    """Load the authorities to get the reason for an error: gRPC reports only that it cannot listen.

    Raises:
        ssl.SSLError: OpenSSL cannot use an authority.
        ValueError: an authority cannot be parsed.
    """
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem.decode("ascii"))
    pem_parser.certificates(pem)


@functools.lru_cache(maxsize=1)
def _tls_context(pair: ServerPair, authorities: bytes) -> ssl.SSLContext:
    return pair.tls_context(authorities)


@functools.lru_cache(maxsize=1)
def _last_expiry(pem: bytes) -> dt.datetime:
    # After a rollover the old authority may expire: the new one has issued the certificates in use.
    return max(each.not_valid_after_utc for each in pem_parser.certificates(pem))


def _authority_notice(pem: bytes) -> str:
    end = _last_expiry(pem)
    if dt.datetime.now(dt.UTC) + server_certificate.RENEWAL_NOTICE < end:
        return ""
    return f"expires at {end:%Y-%m-%dT%H:%M:%SZ}; replace the authority with: jobworkerd certs rollover"
