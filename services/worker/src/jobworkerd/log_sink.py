"""Standard error as the destination of a program's own log: a write never waits for the reader.

Jobs are more important than log lines. While the reader of stderr is stopped, lines wait in a bounded buffer.
Further lines are dropped and counted, and the count is reported when reading resumes.
"""

import io
import os
import select
import socket
import stat
import sys
import threading
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

MAX_BYTES = 1 << 20
"""Maximum size of the lines that wait for the reader, per process."""

_FLUSH_SECONDS = 1.0
"""Maximum time that the exit of a program waits for a slow or stopped reader."""

_STDERR = 2


class LogSink(io.RawIOBase):
    """Writes to a descriptor and buffers the lines that it does not accept. Any thread can write.

    Dropped lines are consecutive: from the first line that does not fit until the buffer is empty.
    """

    def __init__(self, descriptor: int, max_bytes: int = MAX_BYTES) -> None:
        """The caller keeps `descriptor`. A pipe or a terminal is reopened under the same descriptor."""
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._socket = _socket(descriptor)
        self._write_some = partial(_send, self._socket) if self._socket else _writer(descriptor)
        # A destructor can log during a write, on the same thread.
        self._lock = threading.RLock()
        self._writing = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._report: Callable[[int], None] = lambda _: None
        self._loop: AbstractEventLoop | None = None

    def on_recovery(self, report: Callable[[int], None]) -> None:
        """Call `report` with the number of dropped lines when lines can be written again."""
        self._report = report

    def watch(self, loop: AbstractEventLoop) -> None:
        """Write waiting lines from the loop as soon as the descriptor accepts them.

        Without a loop they are written with the next line.
        """
        self._loop = loop
        self._watch_if_waiting()

    def finish(self, within: float = _FLUSH_SECONDS) -> None:
        """Write the waiting lines, for at most `within` seconds, and stop using the loop."""
        self._loop = None
        deadline = time.monotonic() + within
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while self._waiting and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1_000)
            self.flush()

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]  # any buffer
        """Accept all of the data without waiting."""
        self.write_lines((bytes(data),))
        return len(data)

    def write_lines(self, lines: Iterable[bytes]) -> None:
        """Accept lines, and write as many in one call as a pipe writes atomically."""
        with self._lock:
            for line in lines:
                if self._waiting and (self._dropped or self._waiting_bytes + len(line) > self._max_bytes):
                    self._dropped += 1
                else:
                    self._waiting.append(line)
                    self._waiting_bytes += len(line)
        self.flush()

    def flush(self) -> None:
        """Write waiting lines until the buffer is empty or the descriptor accepts no more."""
        with self._lock:
            if self._writing:
                return
            self._writing = True
            try:
                dropped = self._write_waiting()
            except BlockingIOError:
                self._write_later()
                return
            except OSError:
                self._drop_waiting()
                return
            finally:
                self._writing = False
        if dropped:
            self._report(dropped)

    def writable(self) -> bool:
        """Return True, as io.RawIOBase requires for writing."""
        return True

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the sink's own resources; the descriptor stays open."""
        super().close()
        if self._socket:
            self._socket.close()

    def _write_waiting(self) -> int:
        """Write all lines, and return the number of lines that were dropped after them."""
        while self._waiting:
            chunk = self._next_chunk()
            written = self._write_some(chunk)
            self._waiting_bytes -= written
            if written < len(chunk):
                self._waiting[0] = chunk[written:]
            else:
                self._waiting.popleft()
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _next_chunk(self) -> bytes:
        """Return the first line, joined with further lines up to the size of an atomic pipe write."""
        count = size = 0
        for line in self._waiting:
            size += len(line)
            if size > select.PIPE_BUF:
                break
            count += 1
        if count > 1:
            self._waiting.appendleft(b"".join([self._waiting.popleft() for _ in range(count)]))
        return self._waiting[0]

    def _drop_waiting(self) -> None:
        """Drop all waiting lines, because the reader is gone or the disk is full."""
        self._dropped += sum(chunk.count(b"\n") for chunk in self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _write_later(self) -> None:
        if self._loop:
            with suppress(RuntimeError):  # the loop is closed: the next line or `finish` writes them
                self._loop.call_soon_threadsafe(self._watch_if_waiting)

    def _watch_if_waiting(self) -> None:
        if self._loop and self._waiting:
            self._loop.add_writer(self._descriptor, self._on_writable)

    def _on_writable(self) -> None:
        self.flush()
        if self._loop and not self._waiting:
            self._loop.remove_writer(self._descriptor)


def install() -> LogSink:
    """Replace `sys.stderr` of this process with a sink for the descriptor of stderr."""
    sink = LogSink(_STDERR)
    sys.stderr = io.TextIOWrapper(sink, encoding="utf-8", errors="backslashreplace", write_through=True)
    return sink


def _socket(descriptor: int) -> socket.socket | None:
    """Return a second descriptor of a socket, such as journald's, which accepts flags with each write."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return None
    return socket.socket(fileno=os.dup(descriptor))


def _send(sock: socket.socket, data: bytes) -> int:
    return sock.send(data, socket.MSG_DONTWAIT)


def _writer(descriptor: int) -> Callable[[bytes], int]:
    """Return a function that writes some bytes, or raises BlockingIOError if it would block.

    O_NONBLOCK applies to all processes that share the open file description, such as the shell that started
    the server. So the sink opens the file again, sets the flag on the new description only, and replaces the
    descriptor with it. Writes of C libraries to stderr then do not block either.
    """
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor):
        try:
            _reopen(descriptor)
        except OSError:  # the file belongs to another user, as after su(1)
            return lambda data: _write_polled(descriptor, data)
    return lambda data: os.write(descriptor, data)


def _reopen(descriptor: int) -> None:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    opened = os.open(f"/proc/self/fd/{descriptor}", flags)
    os.dup2(opened, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(opened)


def _write_polled(descriptor: int, data: bytes) -> int:
    """Write at most PIPE_BUF bytes, for which a writable pipe always has room."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data[: select.PIPE_BUF])
