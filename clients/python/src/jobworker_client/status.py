"""From a failed call to the error that it raises: the one place that reads gRPC's and google.rpc's errors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from jobworker_client.errors import (
    BY_REASON,
    Cause,
    ConnectionLost,
    DeadlineExceeded,
    FieldViolation,
    JobWorkerError,
    Unreachable,
)

if TYPE_CHECKING:
    from google.rpc import status_pb2

__all__ = ["from_rpc"]


@dataclass(frozen=True)
class ConnectionFailure:
    """What the C core says of a connection that could not be made, and what it means.

    `passing` failures are worth another attempt: the server may be starting.
    """

    pattern: str
    cause: Cause
    meaning: str
    passing: bool = False


# Patterns of grpcio 1.85, the particular before the general.
CONNECTION_FAILURES = (
    ConnectionFailure("certificate has expired", Cause.EXPIRED, "its certificate has expired"),
    ConnectionFailure("certificate is not yet valid", Cause.EXPIRED, "its certificate is not valid yet"),
    ConnectionFailure(
        "CERTIFICATE_VERIFY_FAILED", Cause.UNTRUSTED, "its certificate is not signed by our CA"
    ),
    ConnectionFailure(
        "Hostname Verification Check failed", Cause.OTHER_NAME, "its certificate is for another name"
    ),
    ConnectionFailure("WRONG_VERSION_NUMBER", Cause.NOT_TLS, "something else than TLS is spoken there"),
    ConnectionFailure(
        "Failed to create security handshaker",
        Cause.OUR_FILES,
        "the CA, our certificate or its key is not usable",
    ),
    ConnectionFailure("hostname lookup error", Cause.NO_SUCH_HOST, "there is no such host"),
    ConnectionFailure("Connection refused", Cause.REFUSED, "connection refused", passing=True),
    # In TLS 1.3 our handshake is over before the server has looked at our certificate.
    ConnectionFailure(
        "Socket closed",
        Cause.CLOSED,
        "it closed the connection at once, as it does when it refuses our certificate",
        passing=True,
    ),
)


def from_rpc(error: grpc.RpcError, *, server: str) -> JobWorkerError:
    """Returns the error that tells of a failed call to `server` (`HOST:PORT`)."""
    status = _status(error)
    if status is not None and (known := _from_details(error, status)) is not None:
        return known
    code = error.code().name
    details = error.details() or "no details"
    if code == "UNAVAILABLE":
        return _no_connection(details, server)
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(f"{server} did not answer in time", code=code)
    return JobWorkerError(details, code=code)


def _status(error: grpc.RpcError) -> "status_pb2.Status | None":
    # Imported here: most programs end without an error to read.
    from grpc_status import rpc_status

    try:
        return rpc_status.from_call(error)
    except ValueError:
        # The details are not those of this status: a proxy has rewritten one of them.
        return None


def _from_details(error: grpc.RpcError, status: "status_pb2.Status") -> JobWorkerError | None:
    from google.rpc import error_details_pb2

    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    for detail in status.details:
        # Unpack does nothing where the detail is of another type.
        detail.Unpack(info)
        detail.Unpack(bad_request)
    if not info.reason:
        return None
    kind = BY_REASON.get(info.reason, JobWorkerError)
    return kind(
        status.message,
        code=error.code().name,
        reason=info.reason,
        fields=tuple(FieldViolation(each.field, each.description) for each in bad_request.field_violations),
        metadata=dict(info.metadata),
        retryable=error.code() is grpc.StatusCode.UNAVAILABLE,
    )


def _no_connection(details: str, server: str) -> JobWorkerError:
    if not details.startswith(("failed to connect", "errors resolving")):
        return ConnectionLost(
            f"lost the connection to jobworkerd at {server}: {details}",
            code="UNAVAILABLE",
            reason="CONNECTION_LOST",
            retryable=True,
        )
    failure = next((known for known in CONNECTION_FAILURES if known.pattern in details), None)
    if failure is None:
        failure = ConnectionFailure("", Cause.OTHER, details, passing=True)
    return Unreachable(
        f"cannot reach jobworkerd at {server}: {failure.meaning}",
        code="UNAVAILABLE",
        reason="UNREACHABLE",
        retryable=failure.passing,
        cause=failure.cause,
    )
