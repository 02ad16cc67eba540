"""Descriptors that new jobs may not take, so that everything else never lacks one.

What ends a job, reads its figures or starts an API process again needs a descriptor for a moment. The
functions that take descriptors for a new job run under a lower limit than the rest of the supervisor.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

RESERVED = 32
"""One step needs up to eight at once (`ApiProcesses`); the others are for removed logs that wait for their
space to be given back.
"""


@contextmanager
def kept() -> Iterator[None]:
    """Keeps `RESERVED` descriptors free inside: a call that would take one of them fails with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft - RESERVED, 0), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
