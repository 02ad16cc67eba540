"""The web application: the page, its session, and the calls that it passes on to the server."""

import asyncio
import json
import re
from collections.abc import Collection, Coroutine
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from jobworker_dashboard import methods
from jobworker_dashboard.backend import Backend, Metadata
from jobworker_dashboard.connect_error import ConnectError
from jobworker_dashboard.gateway_probe import GatewayProbe
from jobworker_dashboard.request_body import read_body
from jobworker_dashboard.request_memory import RequestMemory
from jobworker_dashboard.security import Security
from jobworker_dashboard.sessions import Session, Sessions
from jobworker_dashboard.static_files import StaticFiles
from jobworker_dashboard.stream_bridge import SUBPROTOCOL, StreamBridge, end

_COOKIE = "__Host-jobworker"
"""Browsers accept a cookie with this prefix only from this host, for all paths and with `Secure`."""

MEDIA_TYPE = "application/proto"

_NO_STORE = {"Cache-Control": "no-store"}
_GONE = 499
_MAX_TOKEN_BYTES = 16 * 1024
_TIMEOUT_HEADER = "connect-timeout-ms"
_MAX_TIMEOUT_MS = 86_400_000
_TRACE_HEADER = "traceparent"
_TRACE = re.compile(r"[0-9a-z-]{1,128}", re.ASCII)
"""Characters of a trace context. gRPC refuses metadata with others than printable ASCII characters."""

_PAGES = ("/", "/login", "/create", "/nodes", "/jobs/{id}")


def build(backend: Backend, sessions: Sessions, origins: Collection[str]) -> ASGIApp:
    """Return the application for a page that is served at some origins."""
    dashboard = _Dashboard(backend, sessions, cookie_name(origins))
    static = StaticFiles()
    routes = [
        Route("/session", dashboard.show_session, methods=["GET"]),
        Route("/session", dashboard.log_in, methods=["POST"]),
        Route("/session", dashboard.log_out, methods=["DELETE"]),
        Route("/{service}/{method}", dashboard.call, methods=["POST"]),
        WebSocketRoute("/{path:path}", dashboard.stream),
        *(Route(path, static.page, methods=["GET"]) for path in _PAGES),
        Route("/{path:path}", static.file, methods=["GET"]),
    ]
    return Security(Starlette(routes=routes), origins)


def cookie_name(origins: Collection[str]) -> str:
    """Return the name of the cookie of a page.

    It contains the port, because a browser shares cookies between all ports of a host: a login to one
    dashboard would end the session with another one.
    """
    ports = {str(port) for origin in origins if (port := urlsplit(origin).port)}
    return "-".join([_COOKIE, *sorted(ports)])


class _Dashboard:
    def __init__(self, backend: Backend, sessions: Sessions, cookie: str) -> None:
        self._backend = backend
        self._sessions = sessions
        self._cookie_name = cookie
        self._probe = GatewayProbe(backend)
        self._memory = RequestMemory()

    async def show_session(self, request: Request) -> Response:
        try:
            session = self._sessions.find(self._cookie(request))
        except ConnectError as error:
            return _error(error)
        return await self._described(session)

    async def log_in(self, request: Request) -> Response:
        """Exchange the token in the request for a cookie. An earlier session of the browser ends."""
        try:
            token = _token(await read_body(request, _MAX_TOKEN_BYTES))
            cookie, session = await self._sessions.begin(token)
        except ConnectError as error:
            return _error(error)
        self._sessions.end(self._cookie(request))
        response = await self._described(session)
        response.set_cookie(self._cookie_name, cookie, secure=True, httponly=True, samesite="strict")
        return response

    async def log_out(self, request: Request) -> Response:
        self._sessions.end(self._cookie(request))
        response = Response(status_code=204, headers=_NO_STORE)
        response.delete_cookie(self._cookie_name, secure=True, httponly=True, samesite="strict")
        return response

    async def _described(self, session: Session) -> Response:
        return JSONResponse(
            {
                "subject": session.subject,
                "role": session.role,
                "server": self._backend.server,
                "gateway": await self._probe.is_gateway(session.metadata),
                "mode": self._sessions.mode,
                "version": version("jobworker-dashboard"),
            },
            headers=_NO_STORE,
        )

    async def call(self, request: Request) -> Response:
        """Pass a call with one response on to the server."""
        cookie = self._cookie(request)
        try:
            session = self._sessions.find(cookie)
            _check_call(request)
            with self._memory.account(session.subject) as account:
                message = await read_body(request, take=account.take)
                answer = await _unless_gone(request, self._unary(request, session, message))
        except ConnectError as error:
            self._end_if_rejected(cookie, error)
            return _error(error)
        if answer is None:
            return Response(status_code=_GONE)
        return Response(answer, media_type=MEDIA_TYPE, headers=_NO_STORE)

    async def _unary(self, request: Request, session: Session, message: bytes) -> bytes:
        metadata = _metadata(session, request)
        return await self._backend.unary(request.url.path, message, metadata, _timeout(request))

    async def stream(self, websocket: WebSocket) -> None:
        """Pass a stream on to the server.

        The page cannot see why a handshake was refused, so errors are sent as the end of the stream.
        """
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None)
        cookie = self._cookie(websocket)
        try:
            session = self._sessions.find(cookie)
            if (path := websocket.url.path) not in methods.STREAMS:
                raise _unimplemented(path)
            with (
                self._sessions.stream(cookie) as session_ended,
                self._memory.account(session.subject) as account,
            ):
                stream = self._backend.stream(path, _metadata(session, websocket))
                error = await StreamBridge(websocket, stream, session_ended, account).run()
        except ConnectError as refusal:
            await end(websocket, refusal)
        else:
            self._end_if_rejected(cookie, error)

    def _cookie(self, request: Request | WebSocket) -> str:
        return request.cookies.get(self._cookie_name, "")

    def _end_if_rejected(self, cookie: str, error: ConnectError | None) -> None:
        """End the session if the server no longer accepts it."""
        if error and (error.code == "unauthenticated" or error.reason == "CERTIFICATE_REVOKED"):
            self._sessions.end(cookie)


def _token(body: bytes) -> str:
    try:
        token = json.loads(body)["token"]
    except (ValueError, KeyError, TypeError, RecursionError):
        token = None
    # The code of a lone surrogate in JSON is a string that cannot be encoded.
    if not isinstance(token, str) or not token.isascii():
        raise ConnectError("invalid_argument", 'body: not JSON with a token; send {"token": "..."}')
    return token


def _check_call(request: Request) -> None:
    if (path := request.url.path) not in methods.UNARY:
        raise _unimplemented(path)
    if (given := request.headers.get("content-type")) != MEDIA_TYPE:
        raise ConnectError("invalid_argument", f"Content-Type: {given} is not accepted; use {MEDIA_TYPE}")


def _unimplemented(path: str) -> ConnectError:
    return ConnectError("unimplemented", f"{path}: the dashboard does not pass this method on")


def _timeout(request: Request) -> float | None:
    text = request.headers.get(_TIMEOUT_HEADER)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or int(text[:10]) > _MAX_TIMEOUT_MS:
        raise ConnectError(
            "invalid_argument", f"Connect-Timeout-Ms: {text} is not accepted; use 0 to {_MAX_TIMEOUT_MS}"
        )
    return int(text[:10]) / 1_000


def _metadata(session: Session, request: Request | WebSocket) -> Metadata:
    trace = request.headers.get(_TRACE_HEADER)
    return [*session.metadata, *([(_TRACE_HEADER, trace)] if trace and _TRACE.fullmatch(trace) else [])]


def _error(error: ConnectError) -> Response:
    # The request may not have been read to its end.
    headers = {**_NO_STORE, "Connection": "close"}
    return Response(error.body(), error.http_status, headers, "application/json")


async def _unless_gone(request: Request, call: Coroutine[Any, Any, bytes]) -> bytes | None:
    """Return the response to a call. Cancel the call and return None if the client is gone before."""
    calling = asyncio.ensure_future(call)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({calling, gone}, return_when=asyncio.FIRST_COMPLETED)
        return calling.result() if calling.done() else None
    finally:
        calling.cancel()
        gone.cancel()
