"""The end of the gRPC server: every call that reaches it gets a status."""

import asyncio

from grpc import aio

from jobworkerd.api.active_calls import ActiveCalls
from jobworkerd.errors import ShuttingDown

_QUIET_SECONDS = 0.1
_ANSWER_SECONDS = 2.0
_STOP_SECONDS = 2.0
"""How long answers may take that clients read slowly."""


async def stop(server: aio.Server, active_calls: ActiveCalls) -> None:
    """Ends the server, once no more calls arrive.

    gRPC's own end answers the calls that it has queued with CANCELLED, and no code of ours sees them. So
    they are answered first: each of them fails, as the supervisor is gone. Clients that go on calling for
    two seconds without a pause are disconnected; CANCELLED is what their last calls end with.
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
