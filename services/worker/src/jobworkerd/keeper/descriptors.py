"""Reserves descriptors for the start of a supervisor, so that entries cannot take all of them."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

_RESERVED = 16


def reserve() -> None:
    """Allow as many descriptors as possible, because each job has several, except for the reserved ones."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard - _RESERVED, hard // 2), hard))


@contextmanager
def all_descriptors() -> Iterator[None]:
    """Allow the use of the reserved descriptors in the context."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
