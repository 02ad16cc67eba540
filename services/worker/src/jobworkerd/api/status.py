"""From a domain error to the status that the client gets: the one place where that is decided."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from jobworkerd import errors

DOMAIN = "jobworker.v1"
"""The domain of every `google.rpc.ErrorInfo` (AIP-193)."""

_RETRY_SECONDS = 1


class Row(NamedTuple):
    """A status code, and the reason by which programs tell errors apart."""

    code: grpc.StatusCode
    reason: str


TABLE: Mapping[type[errors.JobWorkerError], Row] = MappingProxyType(
    {
        errors.InvalidRequest: Row(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        errors.CommandNotStarted: Row(grpc.StatusCode.INVALID_ARGUMENT, "COMMAND_NOT_STARTED"),
        errors.JobNotFound: Row(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND"),
        errors.OffsetOutOfRange: Row(grpc.StatusCode.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE"),
        errors.LimitUnavailable: Row(grpc.StatusCode.FAILED_PRECONDITION, "LIMIT_UNAVAILABLE"),
        errors.TooManyJobs: Row(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_JOBS"),
        errors.HostExhausted: Row(grpc.StatusCode.RESOURCE_EXHAUSTED, "HOST_EXHAUSTED"),
        errors.RequestIdReused: Row(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
        errors.Unauthenticated: Row(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
        errors.RoleRequired: Row(grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED"),
        errors.ReaderStalled: Row(grpc.StatusCode.UNAVAILABLE, "READER_STALLED"),
        errors.ShuttingDown: Row(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN"),
        errors.SupervisorUnavailable: Row(grpc.StatusCode.UNAVAILABLE, "SUPERVISOR_UNAVAILABLE"),
    }
)


def to_status(error: errors.JobWorkerError) -> grpc.Status:
    """Returns the status of an error, with `google.rpc` details."""
    row = TABLE[type(error)]
    status = status_pb2.Status(
        code=code_pb2.Code.Value(row.code.name),
        message=str(error),
        details=[_packed(detail) for detail in _details(error, row)],
    )
    return rpc_status.to_status(status)


def _packed(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _details(error: errors.JobWorkerError, row: Row) -> list[message.Message]:
    info = error_details_pb2.ErrorInfo(reason=row.reason, domain=DOMAIN, metadata=_metadata(error))
    extra = _extra(error, row)
    return [info, extra] if extra else [info]


def _metadata(error: errors.JobWorkerError) -> dict[str, str]:
    if isinstance(error, errors.CommandNotStarted):
        return {"errno": error.errno_name, "field": error.field}
    if isinstance(error, errors.InvalidRequest):
        return {}  # BadRequest has it all
    return {name: str(value) for name, value in dataclasses.asdict(error).items()}


def _extra(error: errors.JobWorkerError, row: Row) -> message.Message | None:
    match error:
        case errors.InvalidRequest(violations):
            return _bad_request(violations)
        case errors.CommandNotStarted(field):
            return _bad_request({field: str(error)})
        case errors.JobNotFound(job_id):
            return error_details_pb2.ResourceInfo(
                resource_type="jobworker.v1.Job", resource_name=job_id, description=str(error)
            )
        case errors.LimitUnavailable(limit, why):
            violation = error_details_pb2.PreconditionFailure.Violation(
                type=row.reason, subject=limit, description=why
            )
            return error_details_pb2.PreconditionFailure(violations=[violation])
        case _ if row.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}:
            return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=_RETRY_SECONDS))
        case _:
            return None


def _bad_request(violations: Mapping[str, str]) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=field, description=why)
            for field, why in violations.items()
        ]
    )
