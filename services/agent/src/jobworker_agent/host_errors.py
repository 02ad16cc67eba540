"""The errors of calls to the local server, by what the agent can do about them."""

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from jobworker.v1 import error_reason_pb2

_RETRIED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        # The certificate or the version of this host is wrong, not the job. The job waits until that is
        # repaired.
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class HostError(Exception):
    """A failed call. `reason` is that of the API, such as `TOO_MANY_JOBS`, or the code if it has none."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class HostUnavailable(HostError):
    """The same call can succeed later: the server restarts, has no room, or is not set up."""


class RunRefused(HostError):
    """The server refuses the call. A retry cannot succeed."""


class JobUnknown(HostError):
    """The server has no job with this id."""


class OtherAttempt(HostError):
    """The server has another attempt of the job."""


def from_rpc(error: grpc.RpcError) -> HostError:
    """Return the error for a failed call."""
    code: grpc.StatusCode = error.code()
    details = error.details() or "no details"
    reason = _reason(error) or code.name
    match reason:
        case "JOB_NOT_FOUND":
            return JobUnknown(reason, details)
        case "REQUEST_ID_REUSED":
            return OtherAttempt(reason, details)
        case "MESSAGE_TOO_LARGE":
            return RunRefused(reason, details)
    return (HostUnavailable if code in _RETRIED else RunRefused)(reason, details)


def reason_name(reason: error_reason_pb2.ErrorReason.ValueType) -> str:
    """Return the text of a reason in an error, such as `JOB_NOT_FOUND`."""
    return error_reason_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


def _reason(error: grpc.RpcError) -> str:
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # the details contradict the status: a proxy has rewritten one of them
        return ""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        detail.Unpack(info)  # ignores a detail of another type
    return str(info.reason)
