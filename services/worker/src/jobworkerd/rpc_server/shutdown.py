"""Stops the gRPC server so that every call gets a status."""

import asyncio
from contextlib import suppress

from grpc import aio

from jobworkerd.errors import JobWorkerError, ShuttingDown, SupervisorUnavailable
from jobworkerd.rpc_server.active_calls import ActiveCalls
from jobworkerd.rpc_server.disconnect import disconnect

_QUIET_SECONDS = 0.1
_ANSWER_SECONDS = 2.0
_SENT_SECONDS = 0.3
"""Time for the statuses of ended calls to reach their clients."""

_FINISH_SECONDS = 1.0

_REPLACED_SECONDS = 0.5
"""Time after which another API process usually serves. A client that is disconnected earlier finds none, and
gRPC's clients then wait for a second or more.
"""


async def stop(server: aio.Server, active_calls: ActiveCalls, port: int) -> None:
    """Stop the server when no more calls arrive, or after two seconds of calls without a pause.

    Calls are answered in the meantime. At a host most of them fail, because its supervisor has ended.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            await active_calls.quiet(_QUIET_SECONDS)
    await _end(server, active_calls, port, ShuttingDown(), _SENT_SECONDS)


async def abandon(server: aio.Server, active_calls: ActiveCalls, port: int) -> None:
    """Stop the server of a process whose supervisor has died or was replaced.

    Its clients continue with the API processes of another supervisor. Until then their calls fail with
    UNAVAILABLE, so that they call again.
    """
    await _end(server, active_calls, port, SupervisorUnavailable(), _REPLACED_SECONDS)


async def _end(
    server: aio.Server, active_calls: ActiveCalls, port: int, error: JobWorkerError, seconds: float
) -> None:
    """End all calls with an error, and disconnect the clients some seconds later.

    gRPC would end the calls that arrive while its server stops with CANCELLED and without an interceptor. The
    calls of a client that was disconnected end with UNAVAILABLE.
    """
    active_calls.end_all(error)
    await asyncio.sleep(seconds)
    disconnect(port)
    await server.stop(None)
    await _finish_calls()


async def _finish_calls() -> None:
    """Wait for the calls that gRPC has cancelled.

    gRPC prints a traceback for each call that still runs when the event loop ends.
    """
    calls = asyncio.all_tasks() - {asyncio.current_task()}
    if calls:
        await asyncio.wait(calls, timeout=_FINISH_SECONDS)
