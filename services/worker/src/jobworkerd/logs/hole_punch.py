"""Giving the beginning of a file back to the file system, while all that follows stays where it is."""

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # linux/falloc.h
BLOCK = 4096
"""Bytes: a block of nearly all file systems. Only whole blocks are given back, see fallocate(2)."""


def punch(descriptor: int, begin: int, end: int) -> None:
    """Makes a range of a file a hole, which reads as zeros.

    Raises:
        OSError: the file system cannot, or the disk fails.
    """
    if end > begin and _fallocate()(descriptor, _KEEP_SIZE | _PUNCH_HOLE, begin, end - begin):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def check(directory: Path) -> None:
    """Returns if files in a directory can have holes.

    Raises:
        OSError: they cannot; EOPNOTSUPP says that the file system is one without.
    """
    descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, bytes(2 * BLOCK), 0)
        punch(descriptor, 0, BLOCK)
    finally:
        os.close(descriptor)


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int]:
    """Returns fallocate(2), which the standard library lacks: its posix_fallocate makes no holes."""
    function = ctypes.CDLL(None, use_errno=True).fallocate
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int
    call: Callable[[int, int, int, int], int] = function
    return call
