"""Stops the gRPC server so that every call gets a status."""

import asyncio

from grpc import aio

from jobworkerd.api.active_calls import ActiveCalls
from jobworkerd.api.disconnect import disconnect
from jobworkerd.errors import ShuttingDown, SupervisorUnavailable

_QUIET_SECONDS = 0.1
_ANSWER_SECONDS = 2.0
_STOP_SECONDS = 2.0
"""Grace period for responses to slow clients."""

_REPLACED_SECONDS = 0.5
"""Time after which another API process usually serves. A client that is disconnected earlier finds none, and
gRPC's clients then wait for a second or more.
"""


async def stop(server: aio.Server, active_calls: ActiveCalls) -> None:
    """Stop the server when no more calls arrive.

    gRPC itself would end queued calls with CANCELLED and without an interceptor. So this function first
    waits until all queued calls have failed, because the supervisor has ended. Clients that call without a
    pause for two seconds are disconnected, and their last calls end with CANCELLED.
    """
    is_quiet = await _is_quiet(active_calls)
    active_calls.end_all(ShuttingDown())
    await server.stop(_STOP_SECONDS if is_quiet else None)


async def _is_quiet(active_calls: ActiveCalls) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await active_calls.quiet(_QUIET_SECONDS)
    except TimeoutError:
        return False
    return True


async def abandon(server: aio.Server, active_calls: ActiveCalls, port: int) -> None:
    """Stop the server of a process whose supervisor has died or was replaced.

    Its clients continue with the API processes of another supervisor. Until then their calls fail with
    UNAVAILABLE, so that they call again.
    """
    active_calls.end_all(SupervisorUnavailable())
    await asyncio.sleep(_REPLACED_SECONDS)
    disconnect(port)
    await server.stop(None)
