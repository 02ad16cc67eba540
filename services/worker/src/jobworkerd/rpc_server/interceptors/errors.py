"""Converts exceptions of handlers to the status for the client."""

import asyncio
import contextlib
import uuid
from typing import NoReturn

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc import aio

from jobworkerd.errors import CREDENTIAL_ERRORS, HostExhausted, JobWorkerError, ReaderStalled
from jobworkerd.exhaustion import describe, is_exhaustion
from jobworkerd.rpc_server.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.rpc_server.rpc import Call, is_stream, unreadable
from jobworkerd.rpc_server.status import to_status


class Errors(ServerInterceptor):
    """Converts domain errors to a status with details, and other exceptions to INTERNAL with a log id.

    The log has the traceback of a bug under this id. The client gets no other information.
    """

    def __init__(self) -> None:
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()

    async def intercept(self, call: Call, run: Run) -> object:
        try:
            return await run(call)
        except JobWorkerError as error:
            if _may_be_queued_behind_messages(error, call):
                await _end_without_waiting(error, call)
            await call.context.abort_with_status(to_status(error))
        except (aio.AbortError, aio.InternalError):
            # AbortError: the status is already sent. InternalError: the client has disconnected.
            raise
        except DecodeError as error:
            await call.context.abort_with_status(to_status(unreadable(error)))
        except Exception as error:  # no exception may reach the client
            if isinstance(error, aio.BaseError) and not isinstance(error, aio.UsageError):
                raise asyncio.CancelledError from error  # the server has stopped
            if is_exhaustion(error):
                self._log.warning("host exhausted", method=call.method, reason=str(error))
                await call.context.abort_with_status(to_status(HostExhausted(describe(error))))
            log_id = uuid.uuid4().hex
            self._log.exception("bug", method=call.method, log_id=log_id)
            message = f"internal error; look for {log_id} in the log of the server"
            await call.context.abort(grpc.StatusCode.INTERNAL, message)


def _may_be_queued_behind_messages(error: JobWorkerError, call: Call) -> bool:
    return isinstance(error, ReaderStalled) or (
        isinstance(error, CREDENTIAL_ERRORS) and is_stream(call.method)
    )


async def _end_without_waiting(error: JobWorkerError, call: Call) -> NoReturn:
    """Send the status and end the RPC without waiting for the client.

    The status is queued behind messages that the client may never read.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            await call.context.abort_with_status(to_status(error))
    raise asyncio.CancelledError from error
