"""Copies the output of a job from its pipes into its log. The pump never stops reading a pipe."""

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
"""Maximum size of one read: a whole enlarged pipe. Then other pipes have their turn."""


class Pump:
    """The owner of the read ends of one job's pipes, until `finish` or `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipes: dict[OutputSource, int],
        buffer: memoryview,
        on_output: Callable[[], None],
    ) -> None:
        """`buffer` is shared with other pumps. No data stays in it between reads."""
        self._loop = loop
        self._pipes = pipes
        self._buffer = buffer
        self._on_output = on_output

    def start(self, log: LogWriter) -> None:
        """Start to copy output into a log."""
        self._log = log
        for source, pipe in self._pipes.items():
            self._loop.add_reader(pipe, self._read, source)

    def close(self) -> None:
        """Close the pipes and drop unread output."""
        for source in tuple(self._pipes):
            self._close(source)

    def finish(self) -> None:
        """Read the rest of the output, and close the pipes.

        The job has no process remaining, so all of its output is in the pipes. It does not wait for the end
        of file: another process can have the pipe open, and even write to it.

        Raises:
            OSError: the host is exhausted; the call can be repeated.
        """
        for source, pipe in tuple(self._pipes.items()):
            remaining = _readable_bytes(pipe)
            while remaining > 0 and (count := self._read(source)):
                remaining -= count
            self._close(source)

    def _read(self, source: OutputSource) -> int:
        """Copy up to `READ_BYTES` from a pipe into the log; return the number of bytes."""
        pipe = self._pipes.get(source)
        if pipe is None:
            return 0
        try:
            count = os.readv(pipe, [self._buffer])
        except BlockingIOError:
            return 0
        if count:
            self._log.append(source, self._buffer[:count], time.time_ns())
            self._on_output()
        else:
            self._close(source)
        return count

    def _close(self, source: OutputSource) -> None:
        pipe = self._pipes.pop(source, None)
        if pipe is not None:
            self._loop.remove_reader(pipe)
            os.close(pipe)


def _readable_bytes(pipe: int) -> int:
    """Return the number of bytes in a pipe (FIONREAD, ioctl_tty(2))."""
    answer = fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
