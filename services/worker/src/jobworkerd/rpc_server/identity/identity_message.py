"""The message that describes a client."""

from jobworker.v1 import login_service_pb2
from jobworkerd.rpc_server.identity.principal import Principal


def identity_message(principal: Principal) -> login_service_pb2.Identity:
    """Return the message for a client. Its role is empty if the certificate has none."""
    role = principal.role.value if principal.role else ""
    return login_service_pb2.Identity(subject=principal.subject, role=role, delegate=principal.delegate)
