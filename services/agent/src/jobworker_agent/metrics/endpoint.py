"""The Prometheus endpoint of the agent: GET /metrics over plain HTTP, for programs of this host.

Jobs with the network of the host can connect, too. So the number of connections and their time are bounded:
they must not take the descriptors that the renewal of the lease needs.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from jobworker_agent.metrics.text_format import CONTENT_TYPE

_PATH = "/metrics"

_MAX_CONNECTIONS = 16
"""Connections at a time. Others wait."""

_MAX_HEAD_BYTES = 16 * 1024

_REQUEST_SECONDS = 10.0
"""Maximum time of a connection, from its acceptance to the end of the response."""

_RETRY_SECONDS = 1.0

_PLAIN = "text/plain; charset=utf-8"


class MetricsEndpoint:
    """Answers one request per connection."""

    def __init__(self, render: Callable[[], str], max_connections: int = _MAX_CONNECTIONS) -> None:
        """`render` returns the metrics in Prometheus' text form."""
        self._render = render
        self._free = asyncio.Semaphore(max_connections)
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, sock: socket.socket) -> None:
        """Accept connections until cancelled. Close the socket and the connections then."""
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
        except OSError:  # the client has gone, or the process has no free descriptor
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
        """Answer the request of a connection, and close it."""
        with connection, suppress(OSError, EOFError):  # TimeoutError is an OSError
            async with asyncio.timeout(_REQUEST_SECONDS):
                reader, writer = await asyncio.open_connection(sock=connection, limit=_MAX_HEAD_BYTES)
                try:
                    writer.write(await self._response(reader))
                    writer.close()
                    await writer.wait_closed()
                finally:
                    writer.transport.abort()

    async def _response(self, reader: asyncio.StreamReader) -> bytes:
        """Read the head of a request (RFC 9112), and return the response.

        Raises:
            EOFError: the client has closed the connection.
        """
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _encode(HTTPStatus.BAD_REQUEST, "the head of the request is too long\n")
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _encode(HTTPStatus.BAD_REQUEST, "the first line is not that of an HTTP/1.1 request\n")
        method, path = words[0], words[1].partition("?")[0]
        if path != _PATH:
            return _encode(HTTPStatus.NOT_FOUND, f"{path}: unknown path; use {_PATH}\n")
        if method not in {"GET", "HEAD"}:
            return _encode(HTTPStatus.METHOD_NOT_ALLOWED, f"{method}: unknown method; use GET\n")
        return _encode(HTTPStatus.OK, self._render(), CONTENT_TYPE, with_body=method == "GET")


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address of this host. Port 0 selects a free port.

    Raises:
        OSError: the address cannot be used; the message names the setting.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)  # noqa: FBT003 - positional-only
            # Connections of the former agent can still be in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen()
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise OSError(f"metrics_listen: cannot listen on {host}:{port}: {error.strerror}") from error
    return sock


def bound_address(sock: socket.socket) -> str:
    """Return the address of a socket as HOST:PORT or [IPV6]:PORT."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _encode(status: HTTPStatus, text: str, content_type: str = _PLAIN, *, with_body: bool = True) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (body if with_body else b"")
