"""The errors of calls to the local server, by what the agent can do about them."""

from typing import TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from jobworker.v1 import error_reason_pb2, job_pb2

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

_UNCLEAR = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})
"""The codes of a defect, or of a connection that broke in the middle of an answer."""

_PREFIX = "ERROR_REASON_"

Detail = TypeVar("Detail", bound=Message)


class HostError(Exception):
    """A failed call. `reason` is that of the API, such as `TOO_MANY_JOBS`, or the code if it has none."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class HostUnavailable(HostError):
    """The same call can succeed later: the server restarts, has no room, or is not set up."""


class RunRefused(HostError):
    """The server refuses the call. A retry cannot succeed.

    `field` and `errno_name` are those of COMMAND_NOT_STARTED.
    """

    def __init__(self, reason: str, message: str, field: str = "", errno_name: str = "") -> None:
        super().__init__(reason, message)
        self._field = field
        self._errno_name = errno_name

    @property
    def start_error(self) -> job_pb2.StartError | None:
        """The error for the record of the job; None if the server named no reason that the API has."""
        try:
            reason = error_reason_pb2.ErrorReason.Value(_PREFIX + self.reason)
        except ValueError:
            return None
        return job_pb2.StartError(reason=reason, field=self._field, errno_name=self._errno_name)


class OutcomeUnknown(RunRefused):
    """The call has failed unexpectedly. It may have had its effect before."""


class JobUnknown(HostError):
    """The server has no job with this id."""


class OtherAttempt(HostError):
    """The server has another attempt of the job."""


def from_rpc(error: grpc.RpcError) -> HostError:
    """Return the error for a failed call."""
    code: grpc.StatusCode = error.code()
    details = error.details() or "no details"
    status = _status(error)
    info = _detail(status, error_details_pb2.ErrorInfo())
    reason = info.reason or code.name
    match reason:
        case "JOB_NOT_FOUND":
            return JobUnknown(reason, details)
        case "REQUEST_ID_REUSED":
            return OtherAttempt(reason, details)
        case "MESSAGE_TOO_LARGE":
            return RunRefused(reason, details)
        case "COMMAND_NOT_STARTED":
            fields = _detail(status, error_details_pb2.BadRequest()).field_violations
            field = fields[0].field if fields else ""
            return RunRefused(reason, details, field, info.metadata.get("errno", ""))
    if code in _UNCLEAR:
        return OutcomeUnknown(reason, details)
    return (HostUnavailable if code in _RETRIED else RunRefused)(reason, details)


def reason_name(reason: error_reason_pb2.ErrorReason.ValueType) -> str:
    """Return the text of a reason in an error, such as `JOB_NOT_FOUND`."""
    return error_reason_pb2.ErrorReason.Name(reason).removeprefix(_PREFIX)


def _status(error: grpc.RpcError) -> status_pb2.Status:
    try:
        return rpc_status.from_call(error) or status_pb2.Status()
    except ValueError:  # the details contradict the status: a proxy has rewritten one of them
        return status_pb2.Status()


def _detail(status: status_pb2.Status, empty: Detail) -> Detail:
    """Return the detail with the type of an empty message, or the empty message."""
    for each in status.details:
        each.Unpack(empty)  # ignores a detail of another type
    return empty
