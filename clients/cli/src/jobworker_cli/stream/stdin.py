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
    try:
        os.fstat(_STDIN)
    except OSError:
        return
    await _until_readable()
    while data := os.read(_STDIN, _READ_BYTES):
        yield data
        await _until_readable()


async def _until_readable() -> None:
    """Wait until a read of stdin does not block.

    A permanent reader could report bytes again that the caller is just reading.
    """
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(_STDIN, _set_done, readable)
    except PermissionError:  # epoll(7) has no files and no /dev/null, which are always readable
        return
    try:
        await readable
    finally:
        loop.remove_reader(_STDIN)


def _set_done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


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
