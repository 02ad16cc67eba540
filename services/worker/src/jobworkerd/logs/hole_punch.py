"""Hole punching: releases a range of a file without a change of later offsets."""

import ctypes
import os
from pathlib import Path

from jobworkerd.libc import checked, libc

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # linux/falloc.h
BLOCK = 4096
"""Block size of most file systems, in bytes. fallocate(2) releases only whole blocks."""


def punch(descriptor: int, begin: int, end: int) -> None:
    """Replace a range of a file by a hole, which reads as zeros.

    Raises:
        OSError: the file system does not support it, or the disk failed.
    """
    if end > begin:
        # os.posix_fallocate cannot punch holes.
        offset, length = ctypes.c_int64(begin), ctypes.c_int64(end - begin)
        checked(libc().fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, offset, length))


def check(directory: Path) -> None:
    """Check that files in a directory can have holes.

    Raises:
        OSError: they cannot; with EOPNOTSUPP the file system does not support hole punching.
    """
    descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, bytes(2 * BLOCK), 0)
        punch(descriptor, 0, BLOCK)
    finally:
        os.close(descriptor)
