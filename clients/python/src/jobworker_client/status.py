"""Convert failed calls to errors: the only module that reads the errors of gRPC and google.rpc."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from jobworker_client.errors import (
    BY_REASON,
    ClientReason,
    ConnectFailure,
    ConnectionLost,
    DeadlineExceeded,
    FieldViolation,
    JobWorkerError,
    StatusLost,
    Unreachable,
    parse_reason,
)

if TYPE_CHECKING:
    from google.rpc import status_pb2

__all__ = ["from_rpc"]


@dataclass(frozen=True)
class ConnectError:
    """An error text of the gRPC C core for a failed connection, its cause, and our message.

    Retryable failures also occur while a server starts.
    """

    pattern: str
    cause: ConnectFailure
    message: str
    retryable: bool = False


# Texts of grpcio 1.85, specific ones before general ones.
CONNECT_ERRORS = (
    ConnectError(
        "certificate has expired", ConnectFailure.EXPIRED, "the certificate of the server has expired"
    ),
    ConnectError(
        "certificate is not yet valid",
        ConnectFailure.EXPIRED,
        "the certificate of the server is not valid yet",
    ),
    ConnectError(
        "CERTIFICATE_VERIFY_FAILED",
        ConnectFailure.UNTRUSTED,
        "the configured CA did not sign the certificate of the server",
    ),
    ConnectError(
        "Hostname Verification Check failed",
        ConnectFailure.OTHER_NAME,
        "the certificate of the server is for another name",
    ),
    ConnectError("WRONG_VERSION_NUMBER", ConnectFailure.NOT_TLS, "the server does not use TLS"),
    # The files have been checked before. A later handshake can fail with this text because of an earlier
    # connection of the same thread that broke.
    ConnectError(
        "Failed to create security handshaker",
        ConnectFailure.CLIENT_FILES,
        "the CA, certificate or key of the client is not usable",
        retryable=True,
    ),
    ConnectError("hostname lookup error", ConnectFailure.NO_SUCH_HOST, "the host name does not resolve"),
    ConnectError("Connection refused", ConnectFailure.REFUSED, "connection refused", retryable=True),
    # In TLS 1.3 the handshake of the client completes before the server verifies the client's certificate.
    ConnectError(
        "Socket closed",
        ConnectFailure.CLOSED,
        "the server closed the connection, as it does for a client certificate that it refuses",
        retryable=True,
    ),
)

_STATUS_LOST = "Internal error from Core"
"""The details of grpc.aio for a call that the server ended during a write, whose status is lost."""


def from_rpc(error: grpc.RpcError, *, server: str) -> JobWorkerError:
    """Return the error for a failed call to `server` (`HOST:PORT`)."""
    status = _status(error)
    if status is not None and (converted := _from_details(error, status)) is not None:
        return converted
    code = error.code().name
    details = error.details() or "no details"
    if details == _STATUS_LOST:
        return StatusLost(
            f"{server} ended the call with an unknown status",
            code="UNAVAILABLE",
            reason=ClientReason.CONNECTION_LOST,
            retryable=True,
        )
    if code == "UNAVAILABLE":
        return _connection_error(details, server)
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(f"{server} did not answer in time", code=code)
    return JobWorkerError(details, code=code)


def _status(error: grpc.RpcError) -> "status_pb2.Status | None":
    # Imported here, because most programs never need it.
    from grpc_status import rpc_status

    try:
        return rpc_status.from_call(error)
    except ValueError:
        # The details contradict the status: a proxy has rewritten one of them.
        return None


def _from_details(error: grpc.RpcError, status: "status_pb2.Status") -> JobWorkerError | None:
    from google.rpc import error_details_pb2

    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        # Unpack ignores a detail of another type.
        detail.Unpack(info)
        detail.Unpack(bad_request)
        detail.Unpack(retry)
    if not info.reason:
        return None
    kind = BY_REASON.get(parse_reason(info.reason), JobWorkerError)
    return kind(
        status.message,
        code=error.code().name,
        reason=info.reason,
        fields=tuple(FieldViolation(each.field, each.description) for each in bad_request.field_violations),
        metadata=dict(info.metadata),
        retryable=error.code() is grpc.StatusCode.UNAVAILABLE,
        retry_delay=retry.retry_delay.ToTimedelta().total_seconds(),
    )


def _connection_error(details: str, server: str) -> JobWorkerError:
    if not details.startswith(("failed to connect", "errors resolving")):
        return ConnectionLost(
            f"lost the connection to jobworkerd at {server}: {details}",
            code="UNAVAILABLE",
            reason=ClientReason.CONNECTION_LOST,
            retryable=True,
        )
    failure = next((known for known in CONNECT_ERRORS if known.pattern in details), None)
    if failure is None:
        failure = ConnectError("", ConnectFailure.OTHER, details, retryable=True)
    return Unreachable(
        f"cannot reach the server at {server}: {failure.message}",
        code="UNAVAILABLE",
        reason=ClientReason.UNREACHABLE,
        retryable=failure.retryable,
        cause=failure.cause,
    )
