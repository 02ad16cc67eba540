"""The roles that can call each method. No role can call a method that is not in the table."""

from collections.abc import Mapping
from types import MappingProxyType

from jobworkerd.api.identity.principal import Role

_ADMIN = (Role.ADMIN,)
_ADMIN_AND_VIEWER = (Role.ADMIN, Role.VIEWER)

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
        "grpc.health.v1.Health/Check": _ADMIN_AND_VIEWER,
        "grpc.health.v1.Health/List": _ADMIN_AND_VIEWER,
        "grpc.health.v1.Health/Watch": _ADMIN_AND_VIEWER,
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _ADMIN_AND_VIEWER,
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ADMIN_AND_VIEWER,
    }
)


def roles_for(method: str) -> tuple[Role, ...]:
    """Return the roles that can call the method; empty for a method without a rule."""
    return POLICY.get(method, ())
