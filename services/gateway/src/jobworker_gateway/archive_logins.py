"""The logins of a cluster. They are in the archive, so that each gateway can continue what another one began.

A host signs the tokens of its sessions with a key. Gateways would have to share such a key, so their tokens
are random and the archive has the sessions.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict

import msgspec

from jobworker_gateway.archive.login_statements import StoredSession
from jobworker_gateway.archive.sql_archive import SqlArchive
from jobworkerd import one_time_token
from jobworkerd.protocol.login_messages import CreateLogin, Login, LoginToken, RedeemLogin
from jobworkerd.rpc_server.identity.session_token import DelegatedSession, check, unknown_token

_TOKEN_BYTES = 32

MAX_LOADED = 4_096
"""Sessions in memory. Each stream checks its session twice per second, so those in use stay."""


class ArchiveLogins:
    """Creates and redeems one-time tokens, and begins sessions.

    Each method raises ClusterUnavailable if the archive does not answer.
    """

    def __init__(self, archive: SqlArchive) -> None:
        self._archive = archive
        # Gateways write logins one after another. Those that wait must not take connections from other calls.
        self._turn = asyncio.Lock()

    async def create(self, request: CreateLogin) -> LoginToken:
        """Return a new one-time token."""
        token = one_time_token.create()
        async with self._turn:
            await self._archive.add_login(one_time_token.digest(token).hex(), request)
        return LoginToken(token, one_time_token.SECONDS)

    async def redeem(self, request: RedeemLogin) -> Login:
        """Use a one-time token up, and return the certificate of its client."""
        return await self._archive.take_login(one_time_token.digest(request.token).hex())

    async def begin(self, user: str, session: DelegatedSession) -> bytes:
        """Return the token of a new session. `user` is the subject of its certificate."""
        token = secrets.token_bytes(_TOKEN_BYTES)
        content = msgspec.msgpack.encode(session)
        stored = StoredSession(session.delegate, user, content, int(session.expires * 1_000))
        async with self._turn:
            await self._archive.add_session(_digest(token).hex(), stored)
        return token


class ArchiveSessions:
    """The sessions that delegates have used at this gateway lately. A session never changes."""

    def __init__(self, archive: SqlArchive) -> None:
        self._archive = archive
        self._decoder = msgspec.msgpack.Decoder(DelegatedSession)
        self._loaded: OrderedDict[bytes, DelegatedSession] = OrderedDict()

    def is_loaded(self, token: bytes) -> bool:
        """Return whether the session of a token is in memory."""
        return _digest(token) in self._loaded

    async def load(self, token: bytes) -> None:
        """Read the session of a token from the archive, if there is one.

        Raises:
            ClusterUnavailable: the archive did not answer.
        """
        key = _digest(token)
        content = await self._archive.find_session(key.hex()) if len(token) == _TOKEN_BYTES else None
        if content is None:
            return
        self._loaded[key] = self._decoder.decode(content)
        if len(self._loaded) > MAX_LOADED:
            self._loaded.popitem(last=False)

    def verify(self, token: bytes, delegate: str) -> DelegatedSession:
        """Return the session of a token that a delegate presents.

        Raises:
            Unauthenticated: the token is of no session, of another delegate or expired.
        """
        key = _digest(token)
        session = self._loaded.get(key)
        if session is None:
            raise unknown_token()
        self._loaded.move_to_end(key)
        check(session, delegate)
        return session


def _digest(token: bytes) -> bytes:
    """Return the key of a token, so that a look-up does not depend on how much of a guess is right."""
    return hashlib.sha256(token).digest()
