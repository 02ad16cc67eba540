"""Errors of the apiserver, as clients get them. Its refusals are in the log, too, for administrators."""

import contextlib
from collections.abc import Callable, Iterator

import structlog

from jobworker.v1 import job_service_pb2
from jobworker_cluster.kube_errors import (
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    QuotaUsedUp,
    Refused,
    TooLarge,
    Unauthorized,
)
from jobworkerd.errors import (
    ClusterRefused,
    ClusterUnavailable,
    InvalidRequest,
    JobWorkerError,
    MessageTooLarge,
    TooManyJobs,
)

Request = job_service_pb2.CreateJobRequest

REFUSED = "cluster refuses the gateway"
UNREACHABLE = "cluster not reachable"
"""Messages in the log."""

_APPLY = "an administrator has to run: kubectl apply -k packaging/kubernetes/cluster"


@contextlib.contextmanager
def cluster_errors(
    request: Request | None = None, *, is_starting: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Convert the errors of calls to the apiserver for a client. `request` is that of CreateJob.

    `is_starting` tells that an apiserver can be starting, which refuses calls until it has loaded the rights.

    Raises:
        JobWorkerError: see `from_kube`.
    """
    try:
        yield
    except KubeError as error:
        if isinstance(error, Refused) and error.lacks_right and is_starting():
            raise ClusterUnavailable(str(error)) from error
        found = from_kube(error, request)
        _log(found)
        raise found from error
    except ClusterRefused as error:
        _log(error)
        raise


def from_kube(error: KubeError, request: Request | None = None) -> JobWorkerError:
    """Return the error for a client. Only with ClusterUnavailable and TooManyJobs, a retry can succeed."""
    match error:
        case QuotaUsedUp():
            return TooManyJobs(
                f"the ResourceQuota of the cluster is used up ({error})", "retry when other jobs have ended"
            )
        case TooLarge() if request:
            return MessageTooLarge(request.ByteSize(), 0)
        case Invalid() if request and "nodeSelector" in str(error):
            return InvalidRequest({"node_selector": f"the cluster does not accept it: {error}"})
        case Refused() | NotFound():
            return ClusterRefused(str(error), _remedy(error))
    return ClusterUnavailable(str(error))


def _remedy(error: KubeError) -> str:
    match error:
        case Unauthorized():
            return "an administrator has to renew the credentials of the gateway"
        case NotFound():  # of the namespace, or of a kind of objects
            return _APPLY
        case Forbidden(lacks_right=True):
            return _APPLY
        case Forbidden() | Invalid():
            return "change the request, or ask an administrator for the policies of the cluster"
    return "ask an administrator whether the gateway supports this version of Kubernetes"


def _log(error: JobWorkerError) -> None:
    if isinstance(error, ClusterRefused):
        structlog.get_logger().warning(REFUSED, reason=f"{error.why}; {error.remedy}")
