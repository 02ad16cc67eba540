"""The methods of LoginService."""

# ruff: noqa: N802 - the methods have the names that the API gives them

from jobworker.v1 import login_service_pb2, login_service_pb2_grpc
from jobworkerd.api.identity.principal import Identities, Principal
from jobworkerd.api.rpc import Context


class LoginService(login_service_pb2_grpc.LoginServiceServicer):
    """Serves `jobworker.v1.LoginService`. It raises the errors of jobworkerd.errors."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    async def GetIdentity(
        self,
        request: login_service_pb2.GetIdentityRequest,  # noqa: ARG002 - gRPC's signature
        context: Context,
    ) -> login_service_pb2.GetIdentityResponse:
        """Return the identity of the caller."""
        principal = self._identities.principal(context)
        return login_service_pb2.GetIdentityResponse(identity=identity_to_proto(principal))


def identity_to_proto(principal: Principal) -> login_service_pb2.Identity:
    """Return the message of a principal."""
    role = principal.role.value if principal.role else ""
    return login_service_pb2.Identity(subject=principal.subject, role=role)
