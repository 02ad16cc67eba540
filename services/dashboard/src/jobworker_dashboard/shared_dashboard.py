"""The dashboard that several users share: a service with a certificate of the role Delegate."""

import socket

from jobworker_client import ClientConfig
from jobworker_dashboard import app
from jobworker_dashboard.backend import Backend
from jobworker_dashboard.delegated_login import DelegatedLogin
from jobworker_dashboard.http_server import HttpServer
from jobworker_dashboard.sessions import Sessions
from jobworker_dashboard.settings import InvalidSettings, Settings


def listen(settings: Settings) -> socket.socket:
    """Return a listening socket.

    Raises:
        InvalidSettings: the address is in use or not allowed.
    """
    host, port = settings.listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not a host name"
        raise InvalidSettings(
            f"listen: {host}:{port} cannot be used: {why}; use an address of this host with a free port"
        ) from error


async def serve(settings: Settings, config: ClientConfig) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        InvalidCertificateFile: a file of the client certificate cannot be used.
        InvalidSettings: the certificate for browsers or the address cannot be used.
    """
    tls = settings.tls_context()
    backend = Backend(config)
    try:
        application = app.build(backend, Sessions(DelegatedLogin(backend)), [settings.url])
        sock = listen(settings)
        print(f"serving {settings.url} on {settings.listen[0]}:{sock.getsockname()[1]}", flush=True)
        await HttpServer(application, tls).serve_until_signal(sock)
    finally:
        await backend.close()
