"""RateLimiter what a handler raises into the status that the client gets."""

import asyncio
import contextlib
import uuid
from typing import NoReturn

import grpc
import structlog
from grpc import aio

from jobworkerd.api.interceptors.server_interceptor import Run, ServerInterceptor
from jobworkerd.api.rpc import Call, is_stream
from jobworkerd.api.status import to_status
from jobworkerd.errors import HostExhausted, JobWorkerError, ReaderStalled, Unauthenticated
from jobworkerd.exhaustion import describe, is_exhaustion


class Errors(ServerInterceptor):
    """Domain errors become their status with details, anything else INTERNAL with an id to look up.

    The client learns nothing of a bug but that id; the log has the traceback under it.
    """

    def __init__(self) -> None:
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()

    async def intercept(self, call: Call, run: Run) -> object:
        try:
            return await run(call)
        except JobWorkerError as error:
            if _may_stand_behind_messages(error, call):
                await _leave_with(error, call)
            await call.context.abort_with_status(to_status(error))
        except (aio.AbortError, aio.InternalError):
            # The first is a status that is on its way already, the second a write to a client that is gone.
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must not see it
            if is_exhaustion(error):
                self._log.warning("host exhausted", method=call.method, reason=str(error))
                await call.context.abort_with_status(to_status(HostExhausted(describe(error))))
            log_id = uuid.uuid4().hex
            self._log.exception("bug", method=call.method, log_id=log_id)
            sentence = f"this is a fault of the server; its log has more under {log_id}"
            await call.context.abort(grpc.StatusCode.INTERNAL, sentence)


def _may_stand_behind_messages(error: JobWorkerError, call: Call) -> bool:
    return isinstance(error, ReaderStalled) or (isinstance(error, Unauthenticated) and is_stream(call.method))


async def _leave_with(error: JobWorkerError, call: Call) -> NoReturn:
    """Sends the status, but ends the RPC here without waiting until the client takes it.

    The status is queued behind messages that the client may never take.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            await call.context.abort_with_status(to_status(error))
    raise asyncio.CancelledError from error
