"""Standard error as the place of a program's own log: a write never waits for whatever reads it.

Jobs matter more than a log line. While the reader of stderr is stopped, lines wait in a bounded buffer;
what does not fit is counted, and the count is reported once the reader goes on.
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
"""Lines that wait for the reader, per process."""

_FLUSH_SECONDS = 1.0
"""How long the end of a program may wait for a reader that is slow or stopped."""

_STDERR = 2


class LogSink(io.RawIOBase):
    """Writes to a descriptor and buffers what the descriptor does not take; any thread may write.

    The lines that are dropped are consecutive: from the first that does not fit until the buffer is empty.
    """

    def __init__(self, descriptor: int, max_bytes: int = MAX_BYTES) -> None:
        """`descriptor` stays the caller's; one of a pipe or a terminal is opened anew in place."""
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._socket = _socket(descriptor)
        self._write_some = partial(_send, self._socket) if self._socket else _writer(descriptor)
        # A destructor may log in the middle of a write, on the same thread.
        self._lock = threading.RLock()
        self._writing = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._report: Callable[[int], None] = lambda _: None
        self._loop: AbstractEventLoop | None = None

    def on_recovery(self, report: Callable[[int], None]) -> None:
        """Has `report` called with the number of dropped lines once lines can be written again."""
        self._report = report

    def watch(self, loop: AbstractEventLoop) -> None:
        """Writes waiting lines from the loop as soon as the descriptor takes them.

        Without a loop they are written with the next line.
        """
        self._loop = loop
        self._watch_if_waiting()

    def finish(self, within: float = _FLUSH_SECONDS) -> None:
        """Writes what still waits, for so many seconds at most. The loop is no longer used."""
        self._loop = None
        deadline = time.monotonic() + within
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while self._waiting and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1_000)
            self.flush()

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]  # any buffer
        """Takes all of the data, at once."""
        self.write_lines((bytes(data),))
        return len(data)

    def write_lines(self, lines: Iterable[bytes]) -> None:
        """Takes lines, and writes as many together as a pipe takes as a whole."""
        with self._lock:
            for line in lines:
                if self._waiting and (self._dropped or self._waiting_bytes + len(line) > self._max_bytes):
                    self._dropped += 1
                else:
                    self._waiting.append(line)
                    self._waiting_bytes += len(line)
        self.flush()

    def flush(self) -> None:
        """Writes waiting lines until there are none, or until the descriptor takes no more."""
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
        """True, as io.RawIOBase has it."""
        return True

    def isatty(self) -> bool:
        """Tells whether a person reads the lines."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """Returns the descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Closes what the sink opened; the descriptor itself stays open."""
        super().close()
        if self._socket:
            self._socket.close()

    def _write_waiting(self) -> int:
        """Writes all lines, and returns the number of those that were dropped after them."""
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
        """Returns the first line, joined with those after it that a pipe takes as a whole with it."""
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
        """The reader is gone, or the disk is full."""
        self._dropped += sum(chunk.count(b"\n") for chunk in self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _write_later(self) -> None:
        if self._loop:
            with suppress(RuntimeError):  # the loop was closed: the next line or `finish` writes them
                self._loop.call_soon_threadsafe(self._watch_if_waiting)

    def _watch_if_waiting(self) -> None:
        if self._loop and self._waiting:
            self._loop.add_writer(self._descriptor, self._on_writable)

    def _on_writable(self) -> None:
        self.flush()
        if self._loop and not self._waiting:
            self._loop.remove_writer(self._descriptor)


def install() -> LogSink:
    """Puts a sink in front of stderr, for everything in this process that writes to `sys.stderr`."""
    sink = LogSink(_STDERR)
    sys.stderr = io.TextIOWrapper(sink, encoding="utf-8", errors="backslashreplace", write_through=True)
    return sink


def _socket(descriptor: int) -> socket.socket | None:
    """Returns a second descriptor of a socket, such as journald's, which takes flags with each write."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return None
    return socket.socket(fileno=os.dup(descriptor))


def _send(sock: socket.socket, data: bytes) -> int:
    return sock.send(data, socket.MSG_DONTWAIT)


def _writer(descriptor: int) -> Callable[[bytes], int]:
    """Returns a function that writes some bytes, or raises BlockingIOError where it would have to wait.

    O_NONBLOCK counts for everyone who shares the open file, such as the shell that started the server, so
    it is set on an open file of our own only. That file takes the descriptor's place: what libraries in C
    write to stderr does not wait either.
    """
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor):
        try:
            _open_anew(descriptor)
        except OSError:  # another user's, as after su(1)
            return lambda data: _write_polled(descriptor, data)
    return lambda data: os.write(descriptor, data)


def _open_anew(descriptor: int) -> None:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    opened = os.open(f"/proc/self/fd/{descriptor}", flags)
    os.dup2(opened, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(opened)


def _write_polled(descriptor: int, data: bytes) -> int:
    """Writes what a descriptor has room for; a pipe that has room has room for PIPE_BUF bytes."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data[: select.PIPE_BUF])
