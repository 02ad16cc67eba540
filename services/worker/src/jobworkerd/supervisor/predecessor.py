"""Waits for the last processes of a server that was killed, which can hold its locks and its port."""

import asyncio
import errno
from collections.abc import Callable
from typing import TypeVar

from jobworkerd.startup import InUse

T = TypeVar("T")

_END_SECONDS = 3.0
"""An API process ends within a second after its supervisor has died."""

_POLL_SECONDS = 0.05


async def when_free(step: Callable[[], T]) -> T:
    """Return the result of a step that needs a lock or the port. Repeat it while that is in use.

    Raises:
        InUse: another server uses the lock.
        OSError: the port is in use, or the step failed for another reason.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _END_SECONDS
    while True:
        try:
            return step()
        except (InUse, OSError) as error:
            waits = isinstance(error, InUse) or error.errno == errno.EADDRINUSE
            if not waits or loop.time() >= deadline:
                raise
        await asyncio.sleep(_POLL_SECONDS)
