"""The methods of LoginService at a gateway, which has no sessions."""

# ruff: noqa: N802 - the methods have the names that the API gives them

import grpc

from jobworker.v1 import login_service_pb2, login_service_pb2_grpc
from jobworkerd.rpc_server.identity.identity_message import identity_message
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.rpc import Context

_NO_LOGINS = "a gateway has no logins; open the dashboard with `jobworker dashboard`"


class GatewayLoginService(login_service_pb2_grpc.LoginServiceServicer):
    """Serves `jobworker.v1.LoginService`: the identity of the caller."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    async def GetIdentity(
        self,
        request: login_service_pb2.GetIdentityRequest,  # noqa: ARG002 - gRPC's signature
        context: Context,
    ) -> login_service_pb2.GetIdentityResponse:
        """Return the identity of the caller."""
        identity = identity_message(self._identities.principal(context))
        return login_service_pb2.GetIdentityResponse(identity=identity)

    async def CreateLogin(
        self,
        request: login_service_pb2.CreateLoginRequest,  # noqa: ARG002 - gRPC's signature
        context: Context,
    ) -> login_service_pb2.CreateLoginResponse:
        """Refuse the call."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, _NO_LOGINS)

    async def RedeemLogin(
        self,
        request: login_service_pb2.RedeemLoginRequest,  # noqa: ARG002 - gRPC's signature
        context: Context,
    ) -> login_service_pb2.RedeemLoginResponse:
        """Refuse the call."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, _NO_LOGINS)
