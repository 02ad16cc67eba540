"""Errors of gRPC in the form of the Connect protocol."""

import json

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata

from jobworker_dashboard.connect_error import ConnectError

Code = grpc.StatusCode


def failed(code: grpc.StatusCode, text: str, *details: error_details_pb2.ErrorInfo) -> AioRpcError:
    """Return the error of a call, with the details that a server sends."""
    trailing = Metadata()
    if details:
        status = status_pb2.Status(code=code.value[0], message=text)
        for each in details:
            packed = any_pb2.Any()
            packed.Pack(each)
            status.details.append(packed)
        trailing.add("grpc-status-details-bin", status.SerializeToString())
    return AioRpcError(code, Metadata(), trailing, text)


def converted(error: AioRpcError) -> ConnectError:
    return ConnectError.from_rpc(error, "server:50051")


@pytest.mark.parametrize(
    ("code", "name", "status"),
    [
        (Code.CANCELLED, "canceled", 499),
        (Code.INVALID_ARGUMENT, "invalid_argument", 400),
        (Code.DEADLINE_EXCEEDED, "deadline_exceeded", 504),
        (Code.NOT_FOUND, "not_found", 404),
        (Code.PERMISSION_DENIED, "permission_denied", 403),
        (Code.RESOURCE_EXHAUSTED, "resource_exhausted", 429),
        (Code.FAILED_PRECONDITION, "failed_precondition", 400),
        (Code.UNIMPLEMENTED, "unimplemented", 501),
        (Code.INTERNAL, "internal", 500),
        (Code.UNAVAILABLE, "unavailable", 503),
        (Code.UNAUTHENTICATED, "unauthenticated", 401),
    ],
)
def test_the_names_and_http_statuses_of_the_codes(code: grpc.StatusCode, name: str, status: int) -> None:
    error = converted(failed(code, "text"))
    assert (error.code, error.http_status) == (name, status)


def test_the_details_of_the_server_are_kept() -> None:
    assert Code.NOT_FOUND.value[0] == code_pb2.NOT_FOUND
    info = error_details_pb2.ErrorInfo(reason="JOB_NOT_FOUND", domain="example.dev")
    error = converted(failed(Code.NOT_FOUND, "no job", info))
    assert (error.code, error.message, error.reason) == ("not_found", "no job", "JOB_NOT_FOUND")
    (detail,) = json.loads(error.body())["details"]
    assert detail["type"] == "google.rpc.ErrorInfo"
    assert not detail["value"].endswith("=")
    assert json.loads(error.end_of_stream())["error"] == json.loads(error.body())


def test_a_lost_status_can_be_retried() -> None:
    assert converted(failed(Code.INTERNAL, "Internal error from Core")).code == "unavailable"


def test_an_unreachable_server_is_named() -> None:
    error = converted(failed(Code.UNAVAILABLE, "failed to connect to all addresses; Connection refused"))
    assert (error.code, error.message) == (
        "unavailable",
        "cannot reach the server at server:50051: connection refused",
    )
    assert (error.reason, json.loads(error.body()).get("details")) == ("", None)
