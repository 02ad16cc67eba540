"""The current RPC of a handler or an interceptor."""

import asyncio
import dataclasses
import functools
from typing import Any, cast

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpc import aio

from jobworkerd.errors import InvalidRequest

Context = aio.ServicerContext[Any, Any]
"""The context of an RPC with messages of any type."""

_DEADLINE_TOLERANCE = 0.25
"""Seconds. The deadline starts earlier at the client, so its cancellation can arrive before its end here."""


_ID_IN_LOG = 64

UNREAD = object()
"""Stands for a request message that has not been read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """A client certificate and its intermediate certificates, as PEM blocks from the handshake.

    `session` is the session token of a delegate that acts for a user. `subject` is the user for whom a
    gateway acts.
    """

    certificate: bytes
    chain: bytes
    session: bytes = b""
    subject: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One RPC of a method such as `jobworker.v1.JobService/GetJob`.

    `request` is a message, an iterator, or `UNREAD`. `credential` is the client's, as far as it is known.
    """

    method: str
    context: Context
    request: object = None
    credential: Credential | None = None


async def read_request(call: Call) -> Call:
    """Return the call with its message. A call whose message is already read, or that has many, is unchanged.

    Raises:
        DecodeError: the message cannot be parsed.
        InvalidRequest: the client sent none.
    """
    if call.request is not UNREAD:
        return call
    request: object = await call.context.read()
    if request is aio.EOF:
        raise InvalidRequest({"request": "missing; send one message"})
    return Call(call.method, call.context, request, call.credential)


def unreadable(error: DecodeError) -> InvalidRequest:
    """Return the error for a message that cannot be parsed."""
    why = f"cannot be parsed ({error}); use the message of the method, with strings in UTF-8"
    return InvalidRequest({"request": why})


@functools.cache
def is_stream(method: str) -> bool:
    """Return whether the response of a method is a stream."""
    try:
        described = descriptor_pool.Default().FindMethodByName(method.replace("/", "."))
    except KeyError:
        return False
    return bool(described.server_streaming)


def is_long(method: str) -> bool:
    """Return whether a call without side effects can last as long as a job."""
    return is_stream(method) or method == "jobworker.v1.JobService/WaitJob"


def log_job_id(request: object) -> None:
    """Add the job id of a request to all later log lines of its RPC."""
    if job_id := getattr(request, "id", ""):
        structlog.contextvars.bind_contextvars(job_id=str(job_id)[:_ID_IN_LOG])


def status_of(context: Context, error: BaseException | None = None) -> grpc.StatusCode:
    """Return the final status of an RPC.

    `error` is the exception of the handler. If the client disconnects, the task of the RPC is cancelled or a
    write fails.
    """
    match error:
        case None | aio.AbortError():
            # The stub does not declare None, which means that no code is set.
            return cast("grpc.StatusCode | None", context.code()) or grpc.StatusCode.OK
        case asyncio.CancelledError() | aio.InternalError():
            return cast("grpc.StatusCode | None", context.code()) or _status_of_cancelled(context)
        case _:
            return grpc.StatusCode.UNKNOWN


def _status_of_cancelled(context: Context) -> grpc.StatusCode:
    remaining = cast("float | None", context.time_remaining())
    if remaining is not None and remaining < _DEADLINE_TOLERANCE:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED
