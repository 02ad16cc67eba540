"""What a host runs out of: descriptors, processes, memory or space.

A request for something new is refused meanwhile (`HostExhausted`). What ends a job is repeated until it
works: only that gives back what the host lacks.
"""

import asyncio
import errno
from collections.abc import Callable
from typing import TypeVar

_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ENOBUFS,
        errno.ETOOMANYREFS,
    }
)

_FIRST_DELAY_SECONDS = 0.01
_LAST_DELAY_SECONDS = 1.0

T = TypeVar("T")


def is_exhaustion(error: BaseException) -> bool:
    """Tells whether an error says that the host has run out of something."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _ERRNOS)


def describe(error: BaseException) -> str:
    """Returns what the host has run out of, in the kernel's words."""
    return (error.strerror if isinstance(error, OSError) else None) or "Cannot allocate memory"


async def insist(step: Callable[[], T]) -> T:
    """Repeats a step while the host is exhausted, and returns what the step returns.

    Raises:
        OSError: the step failed for another reason.
    """
    delay = _FIRST_DELAY_SECONDS
    while True:
        try:
            return step()
        except (OSError, MemoryError) as error:
            if not is_exhaustion(error):
                raise
        await asyncio.sleep(delay)
        delay = min(2 * delay, _LAST_DELAY_SECONDS)
