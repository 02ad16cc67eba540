"""Errors of the host, by the reaction of the agent."""

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from jobworker.v1 import error_reason_pb2, job_pb2
from jobworker_agent.host_errors import (
    HostError,
    HostUnavailable,
    JobUnknown,
    OtherAttempt,
    OutcomeUnknown,
    RunRefused,
    from_rpc,
)
from jobworkerd.errors import CommandNotStarted
from jobworkerd.rpc_server.status import to_status


def _error(code: grpc.StatusCode, reason: str) -> grpc.aio.AioRpcError:
    status = status_pb2.Status(code=code.value[0], message="why")
    if reason:
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="jobworker.dev"))
    trailing = grpc.aio.Metadata(*rpc_status.to_status(status).trailing_metadata)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, "why")


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", HostUnavailable),
        (grpc.StatusCode.UNAVAILABLE, "", HostUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", HostUnavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_JOBS", HostUnavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "HOST_EXHAUSTED", HostUnavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", RunRefused),
        (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", HostUnavailable),
        (grpc.StatusCode.PERMISSION_DENIED, "CERTIFICATE_REVOKED", HostUnavailable),
        (grpc.StatusCode.INVALID_ARGUMENT, "COMMAND_NOT_STARTED", RunRefused),
        (grpc.StatusCode.FAILED_PRECONDITION, "LIMIT_UNAVAILABLE", RunRefused),
        (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", OtherAttempt),
        (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", JobUnknown),
        (grpc.StatusCode.INTERNAL, "", OutcomeUnknown),
        (grpc.StatusCode.UNKNOWN, "", OutcomeUnknown),
    ],
)
def test_an_error_says_whether_a_retry_can_succeed(
    code: grpc.StatusCode, reason: str, kind: type[HostError]
) -> None:
    error = from_rpc(_error(code, reason))
    assert type(error) is kind
    assert error.reason == (reason or code.name)
    assert str(error) == "why"


def test_an_error_of_the_command_has_its_cause() -> None:
    refused = CommandNotStarted("working_directory", "ENOENT", "/nowhere: No such file or directory")
    status = to_status(refused)
    trailing = grpc.aio.Metadata(*status.trailing_metadata)
    error = from_rpc(grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, status.details))
    assert isinstance(error, RunRefused)
    assert error.start_error == job_pb2.StartError(
        reason=error_reason_pb2.ERROR_REASON_COMMAND_NOT_STARTED,
        field="working_directory",
        errno_name="ENOENT",
    )
    assert str(error) == str(refused)


def test_only_a_reason_of_the_api_is_that_of_a_failed_start() -> None:
    limit = from_rpc(_error(grpc.StatusCode.FAILED_PRECONDITION, "LIMIT_UNAVAILABLE"))
    assert isinstance(limit, RunRefused)
    assert limit.start_error == job_pb2.StartError(reason=error_reason_pb2.ERROR_REASON_LIMIT_UNAVAILABLE)
    for reason in ("", "A_NEW_REASON"):
        other = from_rpc(_error(grpc.StatusCode.INTERNAL, reason))
        assert isinstance(other, RunRefused)
        assert other.start_error is None
