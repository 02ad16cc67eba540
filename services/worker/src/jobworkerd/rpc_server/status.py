"""Converts domain errors to gRPC statuses for clients.

The reasons are those of proto/jobworker/v1/error_reason.proto. The details follow https://google.aip.dev/193.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from jobworker.v1 import error_reason_pb2 as api
from jobworkerd import errors

DOMAIN = "jobworker.dev"

ROWS: Mapping[type[errors.JobWorkerError], tuple[grpc.StatusCode, api.ErrorReason.ValueType]] = (
    MappingProxyType(
        {
            errors.InvalidRequest: (
                grpc.StatusCode.INVALID_ARGUMENT,
                api.ERROR_REASON_INVALID_REQUEST,
            ),
            errors.MessageTooLarge: (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                api.ERROR_REASON_MESSAGE_TOO_LARGE,
            ),
            errors.CommandNotStarted: (
                grpc.StatusCode.INVALID_ARGUMENT,
                api.ERROR_REASON_COMMAND_NOT_STARTED,
            ),
            errors.JobNotFound: (grpc.StatusCode.NOT_FOUND, api.ERROR_REASON_JOB_NOT_FOUND),
            errors.JobNotRunning: (
                grpc.StatusCode.FAILED_PRECONDITION,
                api.ERROR_REASON_JOB_NOT_RUNNING,
            ),
            errors.JobNotFinal: (
                grpc.StatusCode.FAILED_PRECONDITION,
                api.ERROR_REASON_JOB_NOT_FINAL,
            ),
            errors.OffsetOutOfRange: (
                grpc.StatusCode.OUT_OF_RANGE,
                api.ERROR_REASON_OFFSET_OUT_OF_RANGE,
            ),
            errors.NoStdin: (grpc.StatusCode.FAILED_PRECONDITION, api.ERROR_REASON_NO_STDIN),
            errors.StdinInUse: (grpc.StatusCode.FAILED_PRECONDITION, api.ERROR_REASON_STDIN_IN_USE),
            errors.InputOffsetOutOfRange: (
                grpc.StatusCode.OUT_OF_RANGE,
                api.ERROR_REASON_INPUT_OFFSET_OUT_OF_RANGE,
            ),
            errors.LimitUnavailable: (
                grpc.StatusCode.FAILED_PRECONDITION,
                api.ERROR_REASON_LIMIT_UNAVAILABLE,
            ),
            errors.TooManyJobs: (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                api.ERROR_REASON_TOO_MANY_JOBS,
            ),
            errors.QuotaExceeded: (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                api.ERROR_REASON_QUOTA_EXCEEDED,
            ),
            errors.ServerBusy: (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                api.ERROR_REASON_SERVER_BUSY,
            ),
            errors.HostExhausted: (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                api.ERROR_REASON_HOST_EXHAUSTED,
            ),
            errors.RequestIdReused: (
                grpc.StatusCode.ALREADY_EXISTS,
                api.ERROR_REASON_REQUEST_ID_REUSED,
            ),
            errors.Unauthenticated: (
                grpc.StatusCode.UNAUTHENTICATED,
                api.ERROR_REASON_UNAUTHENTICATED,
            ),
            errors.CertificateRevoked: (
                grpc.StatusCode.PERMISSION_DENIED,
                api.ERROR_REASON_CERTIFICATE_REVOKED,
            ),
            errors.RoleRequired: (
                grpc.StatusCode.PERMISSION_DENIED,
                api.ERROR_REASON_ROLE_REQUIRED,
            ),
            errors.ReaderStalled: (grpc.StatusCode.UNAVAILABLE, api.ERROR_REASON_READER_STALLED),
            errors.ShuttingDown: (grpc.StatusCode.UNAVAILABLE, api.ERROR_REASON_SHUTTING_DOWN),
            errors.SupervisorUnavailable: (
                grpc.StatusCode.UNAVAILABLE,
                api.ERROR_REASON_SUPERVISOR_UNAVAILABLE,
            ),
            errors.NodeUnreachable: (grpc.StatusCode.UNAVAILABLE, api.ERROR_REASON_NODE_UNREACHABLE),
            errors.ClusterUnavailable: (
                grpc.StatusCode.UNAVAILABLE,
                api.ERROR_REASON_CLUSTER_UNAVAILABLE,
            ),
            errors.ClusterRefused: (
                grpc.StatusCode.FAILED_PRECONDITION,
                api.ERROR_REASON_CLUSTER_REFUSED,
            ),
        }
    )
)

_RETRY_AFTER_MS: Mapping[type[errors.JobWorkerError], int] = MappingProxyType(
    {
        errors.TooManyJobs: 1_000,
        errors.HostExhausted: 1_000,
        errors.ReaderStalled: 100,
        errors.ShuttingDown: 1_000,
        errors.SupervisorUnavailable: 250,
        errors.NodeUnreachable: 1_000,
        errors.ClusterUnavailable: 1_000,
    }
)

_METADATA_KEYS = MappingProxyType({"errno_name": "errno"})
"""Attributes with another name in the API."""

_MAX_TEXT = 500
"""Characters. A status is sent in HTTP/2 headers, of which clients accept 8 KiB (grpc.max_metadata_size),
and it contains the message several times."""


def reason_name(reason: api.ErrorReason.ValueType) -> str:
    """Return the text of a reason in `google.rpc.ErrorInfo`, such as `JOB_NOT_FOUND`."""
    return api.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


def reason_of(name: str) -> api.ErrorReason.ValueType:
    """Return the reason of an error class with this name; UNSPECIFIED for the class of another version."""
    found = (reason for error, (_, reason) in ROWS.items() if error.__name__ == name)
    return next(found, api.ERROR_REASON_UNSPECIFIED)


def to_status(error: errors.JobWorkerError) -> grpc.Status:
    """Return the status of an error, with `google.rpc` details."""
    code, reason = ROWS[type(error)]
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=_truncate(str(error)))
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=reason_name(reason), domain=DOMAIN, metadata=_metadata(error))
    )
    for detail in _details(error):
        status.details.add().Pack(detail)
    found: grpc.Status = rpc_status.to_status(status)
    return found


def _metadata(error: errors.JobWorkerError) -> dict[str, str]:
    attributes = dataclasses.asdict(error)
    return {
        _METADATA_KEYS.get(name, name): _truncate(str(value))
        for name, value in attributes.items()
        if not isinstance(value, dict)
    }


def _details(error: errors.JobWorkerError) -> Iterator[Message]:
    match error:
        case errors.InvalidRequest(violations=violations):
            yield _bad_request(violations)
        case errors.CommandNotStarted(field=field):
            yield _bad_request({field: str(error)})
        case errors.JobNotFound(job_id=job_id):
            yield error_details_pb2.ResourceInfo(
                resource_type="jobworker.v1.Job", resource_name=_truncate(job_id)
            )
        case errors.LimitUnavailable(limit=limit, why=why):
            yield _precondition_failure("LIMIT", limit, why)
        case errors.ClusterRefused(why=why):
            yield _precondition_failure("CLUSTER", "", why)
        case errors.NoStdin(job_id=job_id) | errors.StdinInUse(job_id=job_id):
            yield _precondition_failure("JOB_STDIN", job_id, str(error))
        case errors.JobNotRunning(job_id=job_id) | errors.JobNotFinal(job_id=job_id):
            yield _precondition_failure("JOB_STATUS", job_id, str(error))
    if delay := _retry_after_ms(error):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(delay)
        yield retry


def _retry_after_ms(error: errors.JobWorkerError) -> int:
    """Return the delay before a retry, rounded up; 0 if a retry cannot succeed."""
    match error:
        case errors.QuotaExceeded(retry_seconds=seconds) | errors.ServerBusy(retry_seconds=seconds):
            return math.ceil(seconds * 1_000)
    return _RETRY_AFTER_MS.get(type(error), 0)


def _bad_request(violations: Mapping[str, str]) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation
    return error_details_pb2.BadRequest(
        field_violations=[
            violation(field=field, description=_truncate(why)) for field, why in violations.items()
        ]
    )


def _precondition_failure(kind: str, subject: str, why: str) -> error_details_pb2.PreconditionFailure:
    violation = error_details_pb2.PreconditionFailure.Violation
    return error_details_pb2.PreconditionFailure(
        violations=[violation(type=kind, subject=subject, description=_truncate(why))]
    )


def _truncate(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
