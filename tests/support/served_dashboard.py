"""A dashboard with a backend that a test controls, served on a socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import cast
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.typing import Origin, Subprotocol

from jobworker_dashboard import app
from jobworker_dashboard.backend import Backend, Metadata
from jobworker_dashboard.connect_error import ConnectError
from jobworker_dashboard.http_server import HttpServer
from jobworker_dashboard.own_dashboard import listen
from jobworker_dashboard.sessions import Session, Sessions

TOKEN = "one-time"
STREAM = "/jobworker.v1.JobService/AttachJob"
UNARY = "/jobworker.v1.JobService/GetJob"


class ScriptedStream:
    """A call of the server whose responses a test sends."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.responses: asyncio.Queue[bytes | ConnectError | None] = asyncio.Queue()
        self.accepts_requests = asyncio.Event()
        self.accepts_requests.set()
        self.cancelled = asyncio.Event()
        self.reads = 0

    def cancel(self) -> None:
        self.cancelled.set()

    async def write(self, request: bytes) -> None:
        await self.accepts_requests.wait()
        self.requests.put_nowait(request)

    async def done_writing(self) -> None:
        self.requests.put_nowait(None)

    async def read(self) -> bytes | None:
        response = await self.responses.get()
        if isinstance(response, ConnectError):
            raise response
        self.reads += 1
        return response


@dataclass
class ScriptedBackend:
    """A server that answers from a script. `calls` has the metadata of each call."""

    server: str = "server:50051"
    answer: Callable[[bytes], bytes | ConnectError] = lambda request: request
    hangs: bool = False
    calls: list[tuple[str, Metadata, float | None]] = field(default_factory=list)
    streams: "asyncio.Queue[ScriptedStream]" = field(default_factory=asyncio.Queue)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def unary(self, path: str, request: bytes, metadata: Metadata, timeout: float | None) -> bytes:  # noqa: ASYNC109
        self.calls.append((path, metadata, timeout))
        if self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        answer = self.answer(request)
        if isinstance(answer, ConnectError):
            raise answer
        return answer

    def stream(self, path: str, metadata: Metadata) -> ScriptedStream:
        self.calls.append((path, metadata, None))
        stream = ScriptedStream()
        self.streams.put_nowait(stream)
        return stream


class TokenLogin:
    """Accepts one token, as often as it is sent."""

    mode = "own"

    async def session(self, token: str) -> Session:
        if token != TOKEN:
            raise ConnectError("unauthenticated", "token: wrong")
        return Session("CN=alice", "Admin", (("session", b"secret"),))


@dataclass
class Served:
    """A dashboard that accepts connections at `origin`."""

    backend: ScriptedBackend
    sessions: Sessions
    origin: str
    cookie: str

    def websocket(self, path: str = STREAM, ssl: SSLContext | None = None, **headers: str) -> connect:
        """Connect as the page does."""
        return connect(
            self.origin.replace("http", "ws", 1) + path,
            origin=Origin(self.origin),
            subprotocols=[Subprotocol("jobworker.v1")],
            additional_headers={"cookie": self.cookie} | headers,
            max_size=None,
            proxy=None,
            ssl=ssl,
        )

    async def http(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[str, bytes]:
        """Send a request as the page does. Return the head and the body of the response."""
        reader, writer = await self.connection()
        writer.write(self.head(method, path, **{"content_length": str(len(body)), **headers}) + body)
        answer = await reader.read()
        writer.close()
        first, _, rest = answer.partition(b"\r\n\r\n")
        return first.decode().lower(), rest

    def head(self, method: str, path: str, **headers: str) -> bytes:
        """Return the head of a request of the page. Headers replace those of the page."""
        given = {"host": urlsplit(self.origin).netloc, "origin": self.origin, "cookie": self.cookie}
        given |= {"connection": "close", "content-type": app.MEDIA_TYPE}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()

    async def connection(
        self, ssl: SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        host, port = urlsplit(self.origin).netloc.split(":")
        return await asyncio.open_connection(host, int(port), ssl=ssl)


@contextlib.asynccontextmanager
async def serving(tls: SSLContext | None = None) -> AsyncIterator[Served]:
    """Serve a dashboard until the end of the context."""
    backend = ScriptedBackend()
    sessions = Sessions(TokenLogin())
    cookie, _ = await sessions.begin(TOKEN)
    sock = listen(0)
    origin = f"http{'s' if tls else ''}://127.0.0.1:{sock.getsockname()[1]}"
    server = HttpServer(app.build(cast("Backend", backend), sessions, [origin]), tls)
    running = asyncio.create_task(server.serve_on(sock))
    try:
        yield Served(backend, sessions, origin, f"{app.cookie_name([origin])}={cookie}")
    finally:
        server.stop()
        await running
