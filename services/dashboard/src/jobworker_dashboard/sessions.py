"""The sessions of browsers: a login exchanges a one-time token for a cookie."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from jobworker_dashboard.backend import Metadata
from jobworker_dashboard.connect_error import ConnectError

MAX_SESSIONS = 1_000
MAX_SESSIONS_PER_SUBJECT = 20
MAX_STREAMS = 1_000
MAX_STREAMS_PER_SUBJECT = 128

_ID_BYTES = 32


@dataclass(frozen=True)
class Session:
    """A user for whom the dashboard calls the server.

    Attributes:
        subject: the subject of the user's certificate.
        role: `Admin` or `Viewer`, as far as the certificate has a role.
        metadata: what each call to the server carries.
        expires: the time of the end in seconds since the epoch.
    """

    subject: str
    role: str
    metadata: Metadata = ()
    expires: float = float("inf")


class Login(Protocol):
    """Decides whose session a one-time token begins."""

    mode: str
    """`own` if the dashboard has the certificate of the user, or `delegated`."""

    async def session(self, token: str) -> Session:
        """Return a new session.

        Raises:
            ConnectError: the token is not valid, or the server did not answer.
        """


class Sessions:
    """The sessions in memory, by the hash of their cookie. They end with the dashboard."""

    def __init__(self, login: Login, clock: Callable[[], float] = time.time) -> None:
        self._login = login
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}
        self._streams: dict[bytes, set[asyncio.Event]] = {}

    @property
    def mode(self) -> str:
        """`own` or `delegated`."""
        return self._login.mode

    def find(self, cookie: str) -> Session:
        """Return the session of a cookie.

        Raises:
            ConnectError: no session has this cookie, or the session has expired.
        """
        session = self._sessions.get(_key(cookie))
        if session is None:
            raise ConnectError("unauthenticated", "no session; open the link of `jobworker dashboard`")
        if session.expires <= self._clock():
            self.end(cookie)
            raise ConnectError("unauthenticated", "the session has expired; log in again")
        return session

    async def begin(self, token: str) -> tuple[str, Session]:
        """Exchange a one-time token for a session. Return its cookie and the session.

        Raises:
            ConnectError: the token is not valid, or the server did not answer.
        """
        session = await self._login.session(token)
        self._make_room(session.subject)
        cookie = secrets.token_urlsafe(_ID_BYTES)
        self._sessions[_key(cookie)] = session
        return cookie, session

    def end(self, cookie: str) -> None:
        """End a session with its streams, if there is one."""
        self._end(_key(cookie))

    def _end(self, key: bytes) -> None:
        self._sessions.pop(key, None)
        for ended in self._streams.get(key, ()):
            ended.set()

    @contextmanager
    def stream(self, cookie: str) -> Iterator[asyncio.Event]:
        """Count a stream of a session. Yield an event that is set when the session ends.

        Raises:
            ConnectError: there is no session, or its user or the dashboard has the maximum number of streams.
        """
        subject = self.find(cookie).subject
        count = self._streams_of(subject)
        if count >= MAX_STREAMS_PER_SUBJECT or sum(map(len, self._streams.values())) >= MAX_STREAMS:
            raise ConnectError(
                "resource_exhausted", f"{count} streams of {subject} are open; close tabs of the dashboard"
            )
        key = _key(cookie)
        streams = self._streams.get(key, set())
        ended = asyncio.Event()
        self._streams[key] = streams
        streams.add(ended)
        try:
            yield ended
        finally:
            streams.discard(ended)
            if not streams:
                del self._streams[key]

    def _streams_of(self, subject: str) -> int:
        sessions = (key for key, each in self._sessions.items() if each.subject == subject)
        return sum(len(self._streams.get(key, ())) for key in sessions)

    def _make_room(self, subject: str) -> None:
        """End expired sessions, and the oldest ones beyond a bound."""
        now = self._clock()
        for key in [key for key, each in self._sessions.items() if each.expires <= now]:
            self._end(key)
        of_subject = [key for key, each in self._sessions.items() if each.subject == subject]
        excess = of_subject[: max(0, len(of_subject) - MAX_SESSIONS_PER_SUBJECT + 1)]
        for key in excess or list(self._sessions)[: max(0, len(self._sessions) - MAX_SESSIONS + 1)]:
            self._end(key)


def _key(cookie: str) -> bytes:
    """Return the hash of a cookie, so that a look-up does not depend on how much of a guess is right."""
    return hashlib.sha256(cookie.encode()).digest()
