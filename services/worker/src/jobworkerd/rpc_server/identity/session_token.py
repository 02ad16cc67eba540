"""Session tokens: a delegate shows with each call for which user it acts.

A session has the certificate of the user. So each call of the delegate passes the same checks as a call of
the user: expiry, authority and revocation, also of the issuers. On a host, the token contains the session,
and all API processes have the key that signs it.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from jobworkerd.errors import Unauthenticated

METADATA_KEY = "jobworker-session-bin"

MAX_BYTES = 12 * 1024
"""Size of a token. The metadata of a call must stay below the bound on metadata."""

SECONDS = 12 * 3_600.0
"""Longest time of a session."""

_DIGEST = "sha256"
_DIGEST_BYTES = 32

_LOG_IN = "log in again with: jobworker dashboard login"


class DelegatedSession(msgspec.Struct, frozen=True, array_like=True):
    """A user for whom a delegate acts.

    `certificate` and `chain` are those of the user. `expires` is in seconds since the epoch.
    """

    delegate: str
    certificate: bytes
    chain: bytes
    expires: float


class Sessions(Protocol):
    """The sessions of a server."""

    def is_loaded(self, token: bytes) -> bool:
        """Return whether `verify` has what it needs for a token."""

    async def load(self, token: bytes) -> None:
        """Get what `verify` needs for a token.

        Raises:
            JobWorkerError: the server cannot get it now.
        """

    def verify(self, token: bytes, delegate: str) -> DelegatedSession:
        """Return the session of a token that a delegate presents.

        Raises:
            Unauthenticated: the token is damaged, of another delegate, of another server or expired.
        """


def unknown_token() -> Unauthenticated:
    """Return the error for a token that the server has not made."""
    return Unauthenticated(f"the session token is not one of this server; {_LOG_IN}")


def check(session: DelegatedSession, delegate: str) -> None:
    """Check that a delegate can use a session now.

    Raises:
        Unauthenticated: it is of another delegate, or has expired.
    """
    if session.delegate != delegate:
        raise Unauthenticated(f"the session token belongs to another delegate; {_LOG_IN}")
    if session.expires <= time.time():
        raise Unauthenticated(f"the session has expired; {_LOG_IN}")


class SessionTokens:
    """Signs and verifies tokens. The first use of the server requests the key."""

    def __init__(self, request_key: Callable[[], Awaitable[bytes]]) -> None:
        self._request_key = request_key
        self._key = b""
        self._loading = asyncio.Lock()
        self._decoder = msgspec.msgpack.Decoder(DelegatedSession)

    def is_loaded(self, token: bytes) -> bool:  # noqa: ARG002 - one key for all tokens
        """Return whether this process has the key."""
        return bool(self._key)

    async def load(self, token: bytes) -> None:  # noqa: ARG002 - as above
        """Get the key.

        Raises:
            JobWorkerError: the supervisor did not answer.
        """
        await self.load_key()

    async def load_key(self) -> None:
        """Get the key, unless this process has it. `sign` and `verify` need it.

        Raises:
            JobWorkerError: the supervisor did not answer.
        """
        if not self._key:
            # One request at a time: any client can send a token, also while the key cannot be read.
            async with self._loading:
                await self._load_first()

    async def _load_first(self) -> None:
        if not self._key:
            self._key = await self._request_key()

    def sign(self, session: DelegatedSession) -> bytes:
        """Return the token of a session."""
        content = msgspec.msgpack.encode(session)
        return self._digest(content) + content

    def verify(self, token: bytes, delegate: str) -> DelegatedSession:
        """Return the session of a token that a delegate presents.

        Raises:
            Unauthenticated: the token is damaged, of another delegate, of another server or expired.
        """
        digest, content = token[:_DIGEST_BYTES], token[_DIGEST_BYTES:]
        if not self._key or not hmac.compare_digest(digest, self._digest(content)):
            raise unknown_token()
        session = self._decoder.decode(content)
        check(session, delegate)
        return session

    def _digest(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, _DIGEST)
