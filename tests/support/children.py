"""Waits for the children of the test process."""

import os
import time
from collections.abc import Callable

from own_children import OwnChildren

TIMEOUT_SECONDS = 30


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for a condition; fail if it does not hold in time."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{holds} did not hold in time"
        time.sleep(0.01)


def reap_all(children: OwnChildren) -> None:
    """Wait until all discarded children have been reaped."""
    children.close()
    wait_until(children.reap_discarded)


def is_reaped(pid: int) -> bool:
    """Return whether a child has ended and was reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
