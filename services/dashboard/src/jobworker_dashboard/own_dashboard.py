"""The dashboard of one user: on the loopback interface, with the certificate of that user."""

import secrets
import signal
import socket

from jobworker.v1 import login_service_pb2
from jobworker_client import ClientConfig
from jobworker_dashboard import app
from jobworker_dashboard.backend import Backend
from jobworker_dashboard.connect_error import ConnectError
from jobworker_dashboard.http_server import HttpServer
from jobworker_dashboard.sessions import Session, Sessions

HOST = "127.0.0.1"

_TOKEN_BYTES = 32
_IDENTITY = "/jobworker.v1.LoginService/GetIdentity"


class OwnLogin:
    """Begins the only kind of session of this dashboard, once per token."""

    mode = "own"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._used = False

    async def session(self, token: str) -> Session:
        """Return a session that calls the server with the certificate of this user.

        Raises:
            ConnectError: the token is wrong or used, or the server did not answer.
        """
        if self._used or not secrets.compare_digest(token.encode(), self.token.encode()):
            raise ConnectError(
                "unauthenticated", "token: wrong or already used; run `jobworker dashboard` again"
            )
        self._used = True
        try:
            answer = await self._backend.unary(_IDENTITY, b"", (), None)
        except BaseException:
            self._used = False
            raise
        identity = login_service_pb2.GetIdentityResponse.FromString(answer).identity
        return Session(identity.subject, identity.role)


def listen(port: int) -> socket.socket:
    """Return a listening socket; port 0 selects a free port.

    Raises:
        OSError: the port is in use or not allowed.
    """
    return socket.create_server((HOST, port))


class OwnDashboard:
    """A dashboard on a listening socket. `link` logs a browser in, once."""

    def __init__(self, config: ClientConfig, sock: socket.socket) -> None:
        """Create the dashboard in the running event loop.

        Raises:
            InvalidCertificateFile: a certificate file cannot be read or used.
        """
        port = sock.getsockname()[1]
        self._sock = sock
        self._backend = Backend(config)
        login = OwnLogin(self._backend)
        origins = [f"http://{HOST}:{port}", f"http://localhost:{port}"]
        self._server = HttpServer(app.build(self._backend, Sessions(login), origins))
        self.link = f"{origins[0]}/login#{login.token}"

    async def serve(self) -> bool:
        """Serve until SIGINT or SIGTERM. Return whether it was SIGINT."""
        try:
            return await self._server.serve_until_signal(self._sock) is signal.SIGINT
        finally:
            await self._backend.close()
