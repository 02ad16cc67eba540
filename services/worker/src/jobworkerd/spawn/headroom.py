"""Reserves descriptors that new jobs cannot take.

Ending a job, reading its usage and restarting an API process need descriptors for a moment. The functions
that open descriptors for a new job therefore run under a lower limit than the rest of the supervisor.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

RESERVED = 32
"""One step needs up to eight at once (`ApiProcesses`). The rest is for removed logs (`DeferredReclaim`)."""


@contextmanager
def reserved() -> Iterator[None]:
    """Keep `RESERVED` descriptors free in the block: a call that needs one of them fails with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft - RESERVED, 0), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
