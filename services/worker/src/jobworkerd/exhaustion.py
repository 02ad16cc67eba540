"""Recognizes errors of an exhausted host, which lacks descriptors, processes, memory or space.

New requests fail then (`HostExhausted`). Steps that end a job are repeated until they succeed (see `retry`),
because they release resources.
"""

import errno

_EVERY_CALL = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
_SOME_CALLS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOBUFS, errno.ETOOMANYREFS})


def is_exhaustion(error: BaseException) -> bool:
    """Return whether an error says that the host has run out of something."""
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno in _EVERY_CALL | _SOME_CALLS
    )


def is_passing(number: int | None) -> bool:
    """Return whether an errno means exhaustion for every call; ENOSPC can also mean a configured limit."""
    return number in _EVERY_CALL


def describe(error: BaseException) -> str:
    """Return the kernel's description of the exhausted resource."""
    return (error.strerror if isinstance(error, OSError) else None) or "Cannot allocate memory"
