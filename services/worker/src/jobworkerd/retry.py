"""Retries of steps that must not fail on an exhausted host."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from jobworkerd.exhaustion import is_exhaustion

_FIRST_DELAY_SECONDS = 0.01
_LAST_DELAY_SECONDS = 1.0

T = TypeVar("T")


async def retry_while_exhausted(step: Callable[[], T]) -> T:
    """Return the result of a step; repeat the step, with a backoff, while the host is exhausted.

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
