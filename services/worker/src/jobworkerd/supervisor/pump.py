"""Moves what a job writes from its pipes into its log, and never stops reading a pipe."""

import asyncio
import fcntl
import os
import struct
import termios
import time
from collections.abc import Callable

from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource

READ_BYTES = 1 << 20
"""What one read takes at most: a whole enlarged pipe. Then it is another pipe's turn."""


class Pump:
    """The reading ends of one job's pipes; their owner until `finish` or `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipes: dict[OutputSource, int],
        buffer: memoryview,
        on_output: Callable[[], None],
    ) -> None:
        """`buffer` is shared with other pumps: no byte stays in it after a read."""
        self._loop = loop
        self._pipes = pipes
        self._buffer = buffer
        self._on_output = on_output

    def start(self, log: LogWriter) -> None:
        """Begins to move what comes into a log."""
        self._log = log
        for source, pipe in self._pipes.items():
            self._loop.add_reader(pipe, self._read, source)

    def close(self) -> None:
        """Closes the pipes, whatever is in them."""
        for source in tuple(self._pipes):
            self._close(source)

    def finish(self) -> None:
        """Takes what is in the pipes now, and closes them.

        Called when the job has no process any more: all that it wrote is in the pipes by then. Somebody
        else may still hold a pipe open, and even write; so no end of file is waited for.

        Raises:
            OSError: the host is exhausted; the call can be repeated.
        """
        for source, pipe in tuple(self._pipes.items()):
            left = _readable_bytes(pipe)
            while left > 0 and (taken := self._read(source)):
                left -= taken
            self._close(source)

    def _read(self, source: OutputSource) -> int:
        """Takes what the pipe has, up to `READ_BYTES`; returns how much that was."""
        pipe = self._pipes.get(source)
        if pipe is None:
            return 0
        try:
            taken = os.readv(pipe, [self._buffer])
        except BlockingIOError:
            return 0
        if taken:
            self._log.append(source, self._buffer[:taken], time.time_ns())
            self._on_output()
        else:
            self._close(source)
        return taken

    def _close(self, source: OutputSource) -> None:
        pipe = self._pipes.pop(source, None)
        if pipe is not None:
            self._loop.remove_reader(pipe)
            os.close(pipe)


def _readable_bytes(pipe: int) -> int:
    """Returns how many bytes a pipe holds (FIONREAD, ioctl_tty(2))."""
    answer = fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
