"""Where a followed job's bytes go: its stdout to our stdout, its stderr to our stderr, unchanged."""

import asyncio
import contextlib
import os
import queue
import select
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from jobworker.v1 import job_service_pb2
from jobworker_client import Chunk, source_runs
from jobworker_client.chunks import log_bytes

__all__ = ["Sink", "open_sink"]

Piece = tuple[list[tuple[int, bytes]], asyncio.Future[None]]


# What one write takes at most; as much as a pipe holds (pipe(7)).
STEP = 65_536

# How long, in seconds, a write may take until it counts as one that waits for a reader.
STUCK_AFTER = 0.1


class Sink:
    """Writes from a thread of its own, a piece at a time.

    A pipe may be full for as long as its reader likes, `less` for hours. The event loop must not block
    meanwhile, or Ctrl-C would do nothing. The thread is a daemon, so that the process can end while a
    write is stuck.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = True
        self._unfinished = 0
        self._message = Chunk()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="sink")
        self._thread.start()

    async def write(self, message: Chunk) -> None:
        """Returns once the operating system has all of the message's payload, each byte in its order.

        Raises:
            BrokenPipeError: nobody reads that stream any more.
            OSError: the write failed, as on a full disk.
        """
        out, err = _descriptor(sys.stdout), _descriptor(sys.stderr)
        parts = [
            (err if source == job_service_pb2.OUTPUT_SOURCE_STDERR else out, data)
            for source, data in source_runs(message)
        ]
        written: asyncio.Future[None] = self._loop.create_future()
        self._message = message
        self._pieces.put((parts, written))
        await written
        self._unfinished = 0

    def cut(self) -> int:
        """Writes no more; returns how much of the log is out of a message whose `write` was cancelled.

        Of a write that is stuck nobody knows; its bytes, at most `STEP`, are not counted.
        """
        idle = self._lock.acquire(timeout=STUCK_AFTER)
        self._open = False
        if idle:
            self._lock.release()
        self._pieces.put(None)
        return log_bytes(self._message, self._unfinished)

    def _serve(self) -> None:
        while (piece := self._pieces.get()) is not None:
            parts, written = piece
            error: OSError | None = None
            try:
                for descriptor, data in parts:
                    self._write_all(descriptor, data)
            except OSError as failed:
                error = failed
            # The loop is closed if the write came back after everybody had left.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_settle, written, error)

    def _write_all(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                with self._lock:
                    if not self._open:
                        return
                    count = os.write(descriptor, rest[:STEP])
                    self._unfinished += count
            except BlockingIOError:
                # Somebody who shares the terminal with us has made it non-blocking.
                select.select([], [descriptor], [])
            else:
                rest = rest[count:]


@contextlib.contextmanager
def open_sink() -> Iterator[Sink]:
    """Gives a sink for as long as the context lasts."""
    sink = Sink()
    try:
        yield sink
    finally:
        sink.cut()


def _descriptor(stream: TextIO) -> int:
    stream.flush()
    return stream.fileno()


def _settle(written: asyncio.Future[None], error: OSError | None) -> None:
    if written.done():  # its waiter was cancelled
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
