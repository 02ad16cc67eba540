"""Moves the output of a job from its pipes into its log. The pump never stops reading a pipe.

If the supervisor dies, another one continues with the same pipes and the same log. No byte is lost or read
twice.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable

from jobworkerd.logs.pipe import readable_bytes
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource

UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of splice(2) on a file system or a terminal without it. Other errors pass."""


class Pump:
    """The owner of the read ends of one job's pipes, until `finish` or `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipes: dict[OutputSource, int],
        buffer: memoryview,
        on_output: Callable[[], None],
    ) -> None:
        """`buffer` is for reads where splice(2) fails. Other pumps share it: no data stays in it."""
        self._loop = loop
        self._pipes = pipes
        self._buffer = buffer
        self._on_output = on_output
        self._can_splice = True

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
        self.drain()
        self.close()

    def drain(self) -> None:
        """Read the output that is in the pipes now.

        Raises:
            OSError: the host is exhausted; the call can be repeated.
        """
        for source, pipe in tuple(self._pipes.items()):
            remaining = readable_bytes(pipe)
            while remaining > 0 and (count := self._read(source)):
                remaining -= count

    def copy_terminal(self, master: int) -> int:
        """Copy output of a terminal into the log, and return its length.

        Raises:
            BlockingIOError: the terminal has no output.
            OSError: no process has the slave open.
        """
        count = self._log.copy(master, OutputSource.STDOUT, self._buffer, time.time_ns())
        if count:
            self._on_output()
        return count

    def _read(self, source: OutputSource) -> int:
        """Move up to `MOST_BYTES` from a pipe to the log, and return their number. Then other pipes have
        their turn.
        """
        pipe = self._pipes.get(source)
        if pipe is None:
            return 0
        try:
            count = self._move(pipe, source)
        except BlockingIOError:
            return 0
        if count:
            self._on_output()
        else:
            self._close(source)
        return count

    def _move(self, pipe: int, source: OutputSource) -> int:
        now = time.time_ns()
        if self._can_splice:
            try:
                return self._log.splice(pipe, source, now)
            except BlockingIOError:
                raise
            except OSError as error:
                self._can_splice = error.errno not in UNSUPPORTED
        return self._log.copy(pipe, source, self._buffer, now)

    def _close(self, source: OutputSource) -> None:
        pipe = self._pipes.pop(source, None)
        if pipe is not None:
            self._loop.remove_reader(pipe)
            os.close(pipe)
