"""The Prometheus endpoint: GET /metrics.

All API processes of a host listen on its port, so a scrape reaches any of them. A plain endpoint is only for
programs of this host. On other addresses clients need a certificate, as for gRPC.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

import structlog

from jobworkerd.errors import CREDENTIAL_ERRORS, JobWorkerError, RoleRequired
from jobworkerd.protocol.replies import SupervisorFault
from jobworkerd.rpc_server.identity.principal import Identities, Role
from jobworkerd.rpc_server.metrics import http
from jobworkerd.rpc_server.metrics.http import BadRequest, Request, Response
from jobworkerd.rpc_server.rpc import Credential
from jobworkerd.startup import CannotStart

_PATH = "/metrics"
_MAX_CONNECTIONS = 16
"""Connections at a time. Others wait, so that a flood of them takes no memory."""

_REQUEST_SECONDS = 10.0
"""Maximum time for the handshake, the request and the response."""

_RETRY_SECONDS = 1.0
_ROLES = (Role.ADMIN, Role.VIEWER)

Report = Callable[[str], Awaitable[Response]]
"""Returns the metrics for the Accept header of a request."""


class MetricsEndpoint:
    """Answers scrapes. With `tls`, only clients with a certificate and a role get an answer."""

    def __init__(
        self, report: Report, identities: Identities, tls: Callable[[], ssl.SSLContext] | None
    ) -> None:
        """`tls` returns the context for the next connection; None means plain HTTP."""
        self._report = report
        self._identities = identities
        self._tls = tls
        self._free = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._connections: set[asyncio.Task[None]] = set()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def serve(self, sock: socket.socket) -> None:
        """Accept connections until this task is cancelled. Close the socket and the connections then."""
        try:
            while True:
                await self._free.acquire()
                await self._accept(sock)
        finally:
            sock.close()
            for each in self._connections:
                each.cancel()

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = await loop.sock_accept(sock)
        except OSError:  # the host is exhausted, or the client has gone
            self._free.release()
            await asyncio.sleep(_RETRY_SECONDS)
            return
        task = loop.create_task(self._answer(connection))
        self._connections.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: "asyncio.Task[None]") -> None:
        self._connections.discard(task)
        self._free.release()

    async def _answer(self, connection: socket.socket) -> None:
        """Answer the request of one connection, and close it."""
        with connection, suppress(OSError, EOFError):  # TimeoutError and SSLError are OSErrors
            async with asyncio.timeout(_REQUEST_SECONDS):
                reader, writer = await self._connect(connection)
                try:
                    writer.write(await self._response(reader, writer))
                    writer.close()
                    await writer.wait_closed()
                finally:
                    writer.transport.abort()

    async def _connect(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the streams of a connection after the TLS handshake."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=http.MAX_HEAD_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        tls = self._tls() if self._tls else None
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _response(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        try:
            request = await http.read_request(reader)
        except BadRequest as error:
            return Response(HTTPStatus.BAD_REQUEST, f"{error}\n").encode()
        response = self._refusal(request, writer) or await self._scrape(request)
        return response.encode(with_body=request.method != "HEAD")

    def _refusal(self, request: Request, writer: asyncio.StreamWriter) -> Response | None:
        """Return the response to a request that is not allowed."""
        if self._tls:
            try:
                self._authorize(writer.get_extra_info("ssl_object"))
            except (*CREDENTIAL_ERRORS, RoleRequired) as error:
                self._log.info("authorization", method=f"GET {_PATH}", decision="denied", reason=str(error))
                return Response(HTTPStatus.FORBIDDEN, f"{error}\n")
        if request.path != _PATH:
            return Response(HTTPStatus.NOT_FOUND, f"{request.path}: unknown path; use {_PATH}\n")
        if request.method not in {"GET", "HEAD"}:
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method}: unknown method; use GET\n")
        return None

    def _authorize(self, connection: ssl.SSLObject) -> None:
        """Check a client certificate, which the handshake has verified, for revocation and role."""
        certificate = connection.getpeercert(binary_form=True)
        assert certificate, "the handshake fails without one"
        pem = ssl.DER_cert_to_PEM_cert(certificate).encode("ascii")
        principal = self._identities.check(Credential(pem, b""))
        if principal.role not in _ROLES:
            role = principal.role.value if principal.role else ""
            required = " or ".join(each.value for each in _ROLES)
            raise RoleRequired(method=f"GET {_PATH}", required=required, role=role)

    async def _scrape(self, request: Request) -> Response:
        try:
            return await self._report(request.headers.get("accept", ""))
        except (JobWorkerError, SupervisorFault) as error:
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that shares the reserved port with the other API processes.

    Raises:
        CannotStart: the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)  # noqa: FBT003 - positional-only
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
            sock.listen()
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise CannotStart(f"metrics.listen: cannot listen on {host}:{port}: {error.strerror}") from error
    return sock
