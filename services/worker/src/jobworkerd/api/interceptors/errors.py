"""Turns what a handler raises into the status that the client gets."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import grpc
import structlog
from grpc import aio

from jobworkerd.api.interceptors.around import Around
from jobworkerd.api.rpc import Call
from jobworkerd.api.status import to_status
from jobworkerd.errors import HostExhausted, JobWorkerError, ReaderStalled
from jobworkerd.exhaustion import describe, is_exhaustion


class Errors(Around):
    """Domain errors become their status with details, anything else INTERNAL with an id to look up.

    The client learns nothing of a bug but that id; the log has the traceback under it.
    """

    def __init__(self) -> None:
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    @contextlib.asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        try:
            yield
        except ReaderStalled as error:
            await _leave_with(error, call)
        except JobWorkerError as error:
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


async def _leave_with(error: ReaderStalled, call: Call) -> None:
    """Sends the status, but ends the RPC here without waiting until the client takes it.

    It stands behind the message that the client does not take, so that would be for as long as it likes.
    """
    try:
        async with asyncio.timeout(0):
            await call.context.abort_with_status(to_status(error))
    except TimeoutError:
        raise asyncio.CancelledError from error
