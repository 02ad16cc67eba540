"""The methods of LoginService."""

# ruff: noqa: N802 - the methods have the names that the API gives them

import time

import structlog

from jobworker.v1 import login_service_pb2, login_service_pb2_grpc
from jobworkerd.errors import InvalidRequest
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.login_messages import CreateLogin, Login, LoginToken, RedeemLogin
from jobworkerd.protocol.replies import expect
from jobworkerd.rpc_server.identity import session_token
from jobworkerd.rpc_server.identity.identity_message import identity_message
from jobworkerd.rpc_server.identity.principal import Identities, Principal, credential
from jobworkerd.rpc_server.identity.session_token import DelegatedSession, SessionTokens
from jobworkerd.rpc_server.rpc import Context, Credential

_MAX_CERTIFICATE_BYTES = 8 * 1024
"""Size of a certificate with its intermediate certificates that fits into a session token."""


class LoginService(login_service_pb2_grpc.LoginServiceServicer):
    """Serves `jobworker.v1.LoginService`. It raises the errors of jobworkerd.errors."""

    def __init__(self, supervisor: SupervisorClient, identities: Identities, sessions: SessionTokens) -> None:
        self._supervisor = supervisor
        self._identities = identities
        self._sessions = sessions

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
        reply = await self._supervisor.request(CreateLogin(subject, presented.certificate, chain))[1]
        login = expect(reply, LoginToken)
        response = login_service_pb2.CreateLoginResponse(token=login.token)
        response.expire_time.FromMilliseconds(int((time.time() + login.seconds) * 1_000))
        return response

    async def RedeemLogin(
        self, request: login_service_pb2.RedeemLoginRequest, context: Context
    ) -> login_service_pb2.RedeemLoginResponse:
        """Begin a session for the client that created a token."""
        delegate = self._identities.principal(context).subject
        await self._sessions.load_key()
        login = expect(await self._supervisor.request(RedeemLogin(request.token))[1], Login)
        if not login.certificate:
            raise InvalidRequest({"token": "unknown, used or expired; create another one"})
        user = Credential(login.certificate, login.chain)
        principal = self._identities.check(user)
        structlog.contextvars.bind_contextvars(user=principal.subject)
        expires = min(time.time() + session_token.SECONDS, self._identities.expiry(user))
        session = DelegatedSession(delegate, user.certificate, user.chain, expires)
        response = login_service_pb2.RedeemLoginResponse(
            identity=identity_message(Principal(principal.subject, principal.role, delegate)),
            session_token=self._sessions.sign(session),
        )
        response.expire_time.FromMilliseconds(int(expires * 1_000))
        return response
