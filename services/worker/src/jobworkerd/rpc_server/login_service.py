"""The methods of LoginService."""

# ruff: noqa: N802 - the methods have the names that the API gives them

import time
from typing import Protocol

import structlog

from jobworker.v1 import login_service_pb2, login_service_pb2_grpc
from jobworkerd.errors import InvalidRequest
from jobworkerd.protocol.login_messages import CreateLogin, Login, LoginToken, RedeemLogin
from jobworkerd.rpc_server.identity import session_token
from jobworkerd.rpc_server.identity.identity_message import identity_message
from jobworkerd.rpc_server.identity.principal import Identities, Principal, credential
from jobworkerd.rpc_server.identity.session_token import DelegatedSession
from jobworkerd.rpc_server.rpc import Context, Credential

_MAX_CERTIFICATE_BYTES = 8 * 1024
"""Size of a certificate with its intermediate certificates that fits into a session token."""


class Logins(Protocol):
    """The logins of a server. All its processes, or all gateways of a cluster, share them.

    Each method raises an error of jobworkerd.errors if the store does not answer.
    """

    async def create(self, request: CreateLogin) -> LoginToken:
        """Return a new one-time token."""

    async def redeem(self, request: RedeemLogin) -> Login:
        """Use a one-time token up, and return the certificate of its client."""

    async def begin(self, user: str, session: DelegatedSession) -> bytes:
        """Return the token of a new session. `user` is the subject of its certificate."""


class LoginService(login_service_pb2_grpc.LoginServiceServicer):
    """Serves `jobworker.v1.LoginService`. It raises the errors of jobworkerd.errors."""

    def __init__(self, logins: Logins, identities: Identities) -> None:
        self._logins = logins
        self._identities = identities

    async def GetIdentity(
        self,
        request: login_service_pb2.GetIdentityRequest,  # noqa: ARG002 - gRPC's signature
        context: Context,
    ) -> login_service_pb2.GetIdentityResponse:
        """Return the identity of the caller."""
        principal = self._identities.principal(context)
        return login_service_pb2.GetIdentityResponse(identity=identity_message(principal))

    async def CreateLogin(
        self,
        request: login_service_pb2.CreateLoginRequest,  # noqa: ARG002 - gRPC's signature
        context: Context,
    ) -> login_service_pb2.CreateLoginResponse:
        """Create a one-time token for the caller."""
        presented = credential(context)
        subject = self._identities.check(presented).subject
        chain = presented.chain.replace(presented.certificate, b"")
        if (size := len(presented.certificate) + len(chain)) > _MAX_CERTIFICATE_BYTES:
            why = f"{size} bytes; a login accepts {_MAX_CERTIFICATE_BYTES}: send fewer intermediate ones"
            raise InvalidRequest({"certificate": why})
        login = await self._logins.create(CreateLogin(subject, presented.certificate, chain))
        response = login_service_pb2.CreateLoginResponse(token=login.token)
        response.expire_time.FromMilliseconds(int((time.time() + login.seconds) * 1_000))
        return response

    async def RedeemLogin(
        self, request: login_service_pb2.RedeemLoginRequest, context: Context
    ) -> login_service_pb2.RedeemLoginResponse:
        """Begin a session for the client that created a token."""
        delegate = self._identities.principal(context).subject
        login = await self._logins.redeem(RedeemLogin(request.token))
        if not login.certificate:
            raise InvalidRequest({"token": "unknown, used or expired; create another one"})
        user = Credential(login.certificate, login.chain)
        principal = self._identities.check(user)
        structlog.contextvars.bind_contextvars(user=principal.subject)
        expires = min(time.time() + session_token.SECONDS, self._identities.expiry(user))
        session = DelegatedSession(delegate, user.certificate, user.chain, expires)
        token = await self._logins.begin(principal.subject, session)
        response = login_service_pb2.RedeemLoginResponse(
            identity=identity_message(Principal(principal.subject, principal.role, delegate)),
            session_token=token,
        )
        response.expire_time.FromMilliseconds(int(expires * 1_000))
        return response
