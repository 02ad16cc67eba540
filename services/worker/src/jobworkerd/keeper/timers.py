"""Times of the monotonic clock at which the keeper acts. None stands for a timer that does not run."""

import time
from collections.abc import Iterable


def is_due(timer: float | None) -> bool:
    """Return whether a time has come."""
    return timer is not None and time.monotonic() >= timer


def milliseconds_to(timers: Iterable[float | None]) -> float | None:
    """Return the time to the first timer; None if no timer runs."""
    due = [each for each in timers if each is not None]
    return max(0.0, min(due) - time.monotonic()) * 1_000 if due else None
