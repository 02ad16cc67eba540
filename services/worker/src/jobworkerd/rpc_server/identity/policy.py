"""The roles that can call each method. No role can call a method that is not in the table."""

from collections.abc import Mapping
from types import MappingProxyType

from jobworkerd.rpc_server.identity.principal import Role

_ADMIN = (Role.ADMIN,)
_ADMIN_AND_VIEWER = (Role.ADMIN, Role.VIEWER)
_DELEGATE = (Role.DELEGATE,)
_GATEWAY = (Role.GATEWAY,)
_ALL = tuple(Role)

POLICY: Mapping[str, tuple[Role, ...]] = MappingProxyType(
    {
        "jobworker.v1.JobService/CreateJob": _ADMIN,
        "jobworker.v1.JobService/GetJob": _ADMIN_AND_VIEWER,
        "jobworker.v1.JobService/ListJobs": _ADMIN_AND_VIEWER,
        "jobworker.v1.JobService/StopJob": _ADMIN,
        "jobworker.v1.JobService/UpdateJob": _ADMIN,
        "jobworker.v1.JobService/DeleteJob": _ADMIN,
        "jobworker.v1.JobService/WaitJob": _ADMIN_AND_VIEWER,
        "jobworker.v1.JobService/WatchJobs": _ADMIN_AND_VIEWER,
        "jobworker.v1.JobService/GetJobsStream": _ADMIN_AND_VIEWER,
        "jobworker.v1.JobService/AttachJob": _ADMIN,
        "jobworker.v1.LoginService/GetIdentity": _ADMIN_AND_VIEWER,
        "jobworker.v1.LoginService/CreateLogin": _ADMIN_AND_VIEWER,
        "jobworker.v1.LoginService/RedeemLogin": _DELEGATE,
        "jobworker.v1.ClusterService/ListNodes": _ADMIN_AND_VIEWER,
        "jobworker.v1.NodeService/GetHost": _GATEWAY,
        "jobworker.v1.NodeService/RunJob": _GATEWAY,
        "jobworker.v1.NodeService/ListRuns": _GATEWAY,
        "jobworker.v1.NodeService/EvictJob": _GATEWAY,
        "jobworker.v1.NodeService/RenewLease": _GATEWAY,
        "grpc.health.v1.Health/Check": _ALL,
        "grpc.health.v1.Health/List": _ALL,
        "grpc.health.v1.Health/Watch": _ALL,
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _ADMIN_AND_VIEWER,
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ADMIN_AND_VIEWER,
    }
)

NOT_DELEGATED = frozenset({"jobworker.v1.LoginService/CreateLogin"})
"""Methods that a delegate cannot call for a user. With CreateLogin, a session could prolong itself."""


SERVICE_FOR_USERS = "jobworker.v1.JobService/"
"""The methods that a gateway can call for a user."""


def roles_for(method: str) -> tuple[Role, ...]:
    """Return the roles that can call the method; empty for a method without a rule."""
    return POLICY.get(method, ())
