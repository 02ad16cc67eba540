"""Distributes the logs over an ext4 disk, with attribute T of chattr(1).

By default ext4 searches for free inodes near the parent directory, and without a journal it skips each inode
that was deleted in the last minutes. On a host that deletes many files, creating a log took 1.8 ms, and 0.2
ms with the attribute.
"""

import contextlib
import fcntl
import os
import struct
from pathlib import Path

# include/uapi/linux/fs.h
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_TOP_DIRECTORY = 0x00020000

_LONG = struct.calcsize("l")


def spread(directory: Path) -> None:
    """Mark a directory so that ext4 treats its subdirectories as unrelated.

    This is only a hint, which other file systems refuse.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_LONG)))
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _TOP_DIRECTORY))
        finally:
            os.close(descriptor)
