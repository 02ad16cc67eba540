"""The one RPC that a handler or an interceptor deals with."""

import asyncio
import dataclasses
import functools
from typing import Any, cast

import grpc
import structlog
from google.protobuf import descriptor_pool
from grpc import aio

Context = aio.ServicerContext[Any, Any]
"""The message types differ from method to method, and nothing here depends on them."""

_DEADLINE_TOLERANCE = 0.25
"""Seconds. The client's clock starts first, so its cancellation arrives just before our deadline."""


_ID_IN_LOG = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One RPC; `method` is such as `jobworker.v1.JobService/GetJob`, `request` a message or an iterator."""

    method: str
    context: Context
    request: object = None


@functools.cache
def is_stream(method: str) -> bool:
    """Returns whether a served method's answer is a stream."""
    try:
        described = descriptor_pool.Default().FindMethodByName(method.replace("/", "."))
    except KeyError:
        return False
    return bool(described.server_streaming)


def log_job_id(request: object) -> None:
    """Adds the id of the job that a request names to what is logged for its RPC from here on."""
    if job_id := getattr(request, "id", ""):
        structlog.contextvars.bind_contextvars(job_id=str(job_id)[:_ID_IN_LOG])


def status_of(context: Context, error: BaseException | None = None) -> grpc.StatusCode:
    """Returns the status that the RPC ends with, from how its handler ended.

    `error` is what the handler raised. A client that is gone leaves two traces: its RPC's task is
    cancelled, or a write to it fails.
    """
    match error:
        case None | aio.AbortError():
            # Until one is set there is none, whatever the stub says.
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
