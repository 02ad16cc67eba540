"""Read the local stdin without blocking the event loop."""

import asyncio
import fcntl
import os
import stat
import struct
import termios
from collections.abc import AsyncIterator

__all__ = ["has_unread_stdin", "read_stdin"]

_STDIN = 0
_READ_BYTES = 64 * 1024


async def read_stdin() -> AsyncIterator[bytes]:
    """Yield the bytes of stdin until its end; nothing if stdin is closed."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    pollable = True
    try:
        loop.add_reader(_STDIN, readable.set)
    except PermissionError:  # a regular file, which is always readable
        pollable = False
        readable.set()
    except OSError:
        return
    try:
        await readable.wait()
        while data := os.read(_STDIN, _READ_BYTES):
            if pollable:
                readable.clear()
            yield data
            await readable.wait()
    finally:
        loop.remove_reader(_STDIN)


def has_unread_stdin() -> bool:
    """Tell whether stdin is a pipe or a file with bytes that nothing has read."""
    try:
        mode = os.fstat(_STDIN).st_mode
        if stat.S_ISREG(mode):
            return os.lseek(_STDIN, 0, os.SEEK_CUR) < os.fstat(_STDIN).st_size
        if stat.S_ISFIFO(mode):
            count = fcntl.ioctl(_STDIN, termios.FIONREAD, struct.pack("i", 0))
            return bool(struct.unpack("i", count)[0])
    except OSError:  # closed
        pass
    return False
