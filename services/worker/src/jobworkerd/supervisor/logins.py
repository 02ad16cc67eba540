"""One-time tokens of clients that log in to a delegate."""

import time
from collections.abc import Callable
from typing import NamedTuple

from jobworkerd import one_time_token
from jobworkerd.protocol.login_messages import (
    CreateLogin,
    GetSessionKey,
    Login,
    LoginReply,
    LoginRequest,
    LoginToken,
    RedeemLogin,
    SessionKey,
)
from jobworkerd.records import session_key


class _Pending(NamedTuple):
    request: CreateLogin
    expires: float


class Logins:
    """The tokens that no delegate has redeemed, oldest first. API processes share them.

    A token beyond a bound replaces the oldest one, so that a client with lost tokens can always log in.
    """

    def __init__(self, key: session_key.SessionKey, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self._clock = clock
        self._pending: dict[bytes, _Pending] = {}

    async def handle(self, request: LoginRequest) -> LoginReply:
        """Return the reply to a request.

        Raises:
            OSError: the key cannot be read or created.
        """
        match request:
            case CreateLogin():
                return LoginToken(self._create(request), one_time_token.SECONDS)
            case RedeemLogin(token):
                return self._redeem(token)
            case GetSessionKey():
                return SessionKey(await self._key.get())

    def _create(self, request: CreateLogin) -> str:
        self._make_room(request.subject)
        token = one_time_token.create()
        expires = self._clock() + one_time_token.SECONDS
        self._pending[one_time_token.digest(token)] = _Pending(request, expires)
        return token

    def _redeem(self, token: str) -> Login:
        found = self._pending.pop(one_time_token.digest(token), None)
        if found is None or found.expires <= self._clock():
            return Login()
        return Login(found.request.certificate, found.request.chain)

    def _make_room(self, subject: str) -> None:
        now = self._clock()
        self._pending = {key: each for key, each in self._pending.items() if each.expires > now}
        of_subject = [key for key, each in self._pending.items() if each.request.subject == subject]
        if len(of_subject) >= one_time_token.MAX_PER_SUBJECT:
            del self._pending[of_subject[0]]
        elif len(self._pending) >= one_time_token.MAX_TOKENS:
            del self._pending[next(iter(self._pending))]
