"""Runs uvicorn in the running event loop, with bounds for clients that send slowly."""

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from jobworker_dashboard.request_body import MAX_BYTES

HEADER_SECONDS = 10.0
"""Time for the head of a request to arrive, from the connection or from its first byte on."""

_MAX_HEADER_BYTES = 32 * 1024
_MAX_CONNECTIONS = 2_000
_KEEP_ALIVE_SECONDS = 60
_SHUTDOWN_SECONDS = 2

_PONG_SECONDS = 60
"""Time for the answer to a ping. A slow client first reads the buffers of the connection."""


class _Protocol(H11Protocol):
    """HTTP/1.1 with a bound on the time in which the head of a request arrives."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._timer = self._start_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._has_request():
            self._timer.cancel()
        elif self._timer.cancelled():
            self._timer = self._start_timer()

    def _start_timer(self) -> asyncio.TimerHandle:
        return self.loop.call_later(HEADER_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        # A WebSocket has another protocol then.
        if self.transport.get_protocol() is self and not self._has_request():
            self.transport.close()

    def _has_request(self) -> bool:
        """Return whether a request is in progress."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn declares it without None
        return cycle is not None and not cycle.response_complete


class HttpServer(uvicorn.Server):
    """Serves an application on a socket until `stop`. The owner of the event loop handles the signals."""

    def __init__(self, app: ASGIApp, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="websockets-sansio",
            ws_max_size=MAX_BYTES,
            ws_per_message_deflate=False,
            ws_ping_timeout=_PONG_SECONDS,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        config.load()
        config.ssl = tls
        super().__init__(config)

    async def serve_until_signal(self, sock: socket.socket) -> signal.Signals:
        """Serve until SIGINT or SIGTERM, and return the signal."""
        received: list[signal.Signals] = []

        def end(number: signal.Signals) -> None:
            received.append(number)
            self.stop()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
        await self.serve_on(sock)
        return received[0]

    async def serve_on(self, sock: socket.socket) -> None:
        """Serve on a listening socket until `stop`, and close it."""
        await self.serve(sockets=[sock])

    def stop(self) -> None:
        """Close all connections, and let `serve_on` return."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signal handlers alone."""
        yield
