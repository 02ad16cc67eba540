"""Errors in the form of the Connect protocol (https://connectrpc.com/docs/protocol)."""

import base64
import json
from dataclasses import dataclass
from typing import Self

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from jobworker_client.status import from_rpc

_HTTP_STATUS = {
    "canceled": 499,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "unavailable": 503,
    "unauthenticated": 401,
}

_NAMES = {"CANCELLED": "canceled"}
"""The names of the Connect protocol that differ from those of gRPC."""


@dataclass(frozen=True)
class ErrorDetail:
    """A message such as `google.rpc.ErrorInfo`, and its encoding."""

    type: str
    value: bytes


@dataclass(eq=False)
class ConnectError(Exception):
    """An error of a call, with the code of the Connect protocol, such as `not_found`."""

    code: str
    message: str
    details: tuple[ErrorDetail, ...] = ()

    @classmethod
    def from_rpc(cls, error: grpc.aio.AioRpcError, server: str) -> Self:
        """Return the error of a call to `server`. A lost status becomes `unavailable`."""
        known = from_rpc(error, server=server)
        name = known.code or error.code().name
        return cls(_NAMES.get(name, name.lower()), str(known), _details(error))

    @property
    def http_status(self) -> int:
        """The status of the HTTP response to a unary call."""
        return _HTTP_STATUS.get(self.code, 500)

    @property
    def reason(self) -> str:
        """The reason in `google.rpc.ErrorInfo`, such as `JOB_NOT_FOUND`; empty without one."""
        for detail in self.details:
            if detail.type == error_details_pb2.ErrorInfo.DESCRIPTOR.full_name:
                return str(error_details_pb2.ErrorInfo.FromString(detail.value).reason)
        return ""

    def body(self) -> bytes:
        """Return the body of the response to a unary call."""
        return json.dumps(self._fields()).encode()

    def end_of_stream(self) -> str:
        """Return the last message of a stream."""
        return json.dumps({"error": self._fields()})

    def _fields(self) -> dict[str, object]:
        fields: dict[str, object] = {"code": self.code, "message": self.message}
        if self.details:
            fields["details"] = [
                {"type": each.type, "value": base64.b64encode(each.value).decode().rstrip("=")}
                for each in self.details
            ]
        return fields


def _details(error: grpc.aio.AioRpcError) -> tuple[ErrorDetail, ...]:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)
    except ValueError:
        return ()  # the details contradict the status
    if status is None:
        return ()
    return tuple(ErrorDetail(each.type_url.rpartition("/")[2], each.value) for each in status.details)
