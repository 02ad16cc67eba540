"""Conversion of errors to statuses."""

import dataclasses
import re
from pathlib import Path
from typing import get_type_hints

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from jobworker.v1 import job_pb2
from jobworkerd import errors
from jobworkerd.rpc_server.status import ROWS, reason_name, to_status

PROTOS = Path(__file__).parents[3] / "proto/jobworker/v1"
PROTO = PROTOS / "job_service.proto"

_VALUES: dict[type, object] = {str: "text", int: 7, float: 1.5, dict[str, str]: {"max_cpu": "too much"}}


def _example(error_class: type[errors.JobWorkerError]) -> errors.JobWorkerError:
    hints = get_type_hints(error_class)
    fields = {each.name: _VALUES[hints[each.name]] for each in dataclasses.fields(error_class)}
    return error_class(**fields)


def _status(error: errors.JobWorkerError) -> status_pb2.Status:
    status = to_status(error)
    packed = dict(status.trailing_metadata)["grpc-status-details-bin"]
    return status_pb2.Status.FromString(packed)


def _details(error: errors.JobWorkerError) -> set[str]:
    return {detail.TypeName().removeprefix("google.rpc.") for detail in _status(error).details}


def _info(error: errors.JobWorkerError) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo.FromString(_status(error).details[0].value)


@pytest.mark.parametrize("error_class", errors.JobWorkerError.__subclasses__())
def test_every_error_has_a_status_with_a_reason(error_class: type[errors.JobWorkerError]) -> None:
    error = _example(error_class)
    code, reason = ROWS[error_class]
    assert code not in {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
    status = _status(error)
    assert (status.code, status.message) == (code.value[0], str(error))
    info = _info(error)
    assert (info.reason, info.domain) == (reason_name(reason), "jobworker.dev")


def test_reasons_are_unique() -> None:
    assert len({reason for _, reason in ROWS.values()}) == len(ROWS)


def test_every_documented_reason_exists() -> None:
    comments = " ".join(line for line in PROTO.read_text().splitlines() if line.strip().startswith("//"))
    documented = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", comments))
    codes = {code.name for code in grpc.StatusCode}
    assert documented - codes - {reason_name(reason) for _, reason in ROWS.values()} <= {
        *job_pb2.TerminationReason.keys(),
        "BEST_EFFORT",
        "MAX_ARG_STRLEN",
        "PID_MAX_LIMIT",
    }


@pytest.mark.parametrize(
    ("error_class", "details"),
    [
        (errors.InvalidRequest, {"ErrorInfo", "BadRequest"}),
        (errors.CommandNotStarted, {"ErrorInfo", "BadRequest"}),
        (errors.JobNotFound, {"ErrorInfo", "ResourceInfo"}),
        (errors.JobNotRunning, {"ErrorInfo", "PreconditionFailure"}),
        (errors.JobNotFinal, {"ErrorInfo", "PreconditionFailure"}),
        (errors.NoStdin, {"ErrorInfo", "PreconditionFailure"}),
        (errors.StdinInUse, {"ErrorInfo", "PreconditionFailure"}),
        (errors.InputOffsetOutOfRange, {"ErrorInfo"}),
        (errors.LimitUnavailable, {"ErrorInfo", "PreconditionFailure"}),
        (errors.TooManyJobs, {"ErrorInfo", "RetryInfo"}),
        (errors.HostExhausted, {"ErrorInfo", "RetryInfo"}),
        (errors.QuotaExceeded, {"ErrorInfo", "RetryInfo"}),
        (errors.ServerBusy, {"ErrorInfo", "RetryInfo"}),
        (errors.ReaderStalled, {"ErrorInfo", "RetryInfo"}),
        (errors.ShuttingDown, {"ErrorInfo", "RetryInfo"}),
        (errors.SupervisorUnavailable, {"ErrorInfo", "RetryInfo"}),
        (errors.ClusterUnavailable, {"ErrorInfo", "RetryInfo"}),
        (errors.ClusterRefused, {"ErrorInfo", "PreconditionFailure"}),
        (errors.CertificateRevoked, {"ErrorInfo"}),
        (errors.RoleRequired, {"ErrorInfo"}),
    ],
)
def test_details(error_class: type[errors.JobWorkerError], details: set[str]) -> None:
    assert _details(_example(error_class)) == details


def test_attributes_are_metadata() -> None:
    info = _info(errors.ReaderStalled(job_id="j", stall_timeout=1.5))
    assert dict(info.metadata) == {"job_id": "j", "stall_timeout": "1.5"}


def test_the_errno_has_its_documented_key() -> None:
    info = _info(errors.CommandNotStarted(field="command", errno_name="ENOENT", why="no such file"))
    assert info.metadata["errno"] == "ENOENT"


def test_every_violation_is_named() -> None:
    error = errors.InvalidRequest({"max_cpu": "too much", "command": "empty"})
    bad = error_details_pb2.BadRequest.FromString(_status(error).details[1].value)
    assert {each.field: each.description for each in bad.field_violations} == error.violations


def test_a_status_fits_into_the_headers_that_clients_accept() -> None:
    error = errors.CommandNotStarted(field="command", errno_name="ENAMETOOLONG", why="x" * 10_000)
    status = to_status(error)
    encoded = len(dict(status.trailing_metadata)["grpc-status-details-bin"]) * 4 / 3 + len(status.details)
    assert encoded < 8_192


def test_the_delay_of_a_retry_is_that_of_the_error() -> None:
    error = errors.QuotaExceeded("quota.admin.create_rate", 10.0, "too many", "wait", retry_seconds=0.0123)
    retry = error_details_pb2.RetryInfo.FromString(_status(error).details[-1].value)
    assert retry.retry_delay.ToMilliseconds() == 13
    assert dict(_info(error).metadata)["limit"] == "10.0"
