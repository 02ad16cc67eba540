"""Write the bytes of a job to stdout and stderr, unchanged."""

import asyncio
import contextlib
import os
import queue
import select
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from jobworker.v1 import job_output_pb2
from jobworker_client import Chunk, source_runs
from jobworker_client.chunks import log_bytes

__all__ = ["OutputWriter", "open_writer"]

WriteRequest = tuple[list[tuple[int, bytes]], asyncio.Future[None]]
"""The data for each descriptor, and the future that completes after the write."""

# Maximum size of one write(2): the capacity of a pipe (pipe(7)).
MAX_WRITE = 65_536

# A write that takes longer than this, in seconds, is blocked by its reader.
BLOCKED_AFTER = 0.1


class OutputWriter:
    """Writes in a thread, one message at a time.

    A pipe can be full for hours, for example under `less`. If that blocked the event loop, Ctrl-C would have
    no effect. The thread is a daemon, so that the process can exit during a blocked write.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._requests: queue.SimpleQueue[WriteRequest | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = True
        self._unfinished = 0
        self._message = Chunk()
        self._thread = threading.Thread(target=self._run, daemon=True, name="output-writer")
        self._thread.start()

    async def write(self, message: Chunk) -> None:
        """Write the payload of a message; return when the kernel has all of it.

        Raises:
            BrokenPipeError: the reader of the stream has exited.
            OSError: the write failed, for example on a full disk.
        """
        out, err = _descriptor(sys.stdout), _descriptor(sys.stderr)
        data = [
            (err if source == job_output_pb2.OUTPUT_SOURCE_STDERR else out, run)
            for source, run in source_runs(message)
        ]
        written: asyncio.Future[None] = self._loop.create_future()
        self._message = message
        self._requests.put((data, written))
        await written
        self._unfinished = 0

    def close(self) -> int:
        """Stop writing; return the number of log bytes written from a message whose `write` was cancelled.

        A blocked write does not count; its bytes, at most `MAX_WRITE`, may or may not have been written.
        """
        idle = self._lock.acquire(timeout=BLOCKED_AFTER)
        self._open = False
        if idle:
            self._lock.release()
        self._requests.put(None)
        return log_bytes(self._message, self._unfinished)

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            data, written = request
            error: OSError | None = None
            try:
                for descriptor, run in data:
                    self._write_all(descriptor, run)
            except OSError as write_error:
                error = write_error
            # The event loop is already closed if a blocked write returns late.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_complete, written, error)

    def _write_all(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                with self._lock:
                    if not self._open:
                        return
                    count = os.write(descriptor, rest[:MAX_WRITE])
                    self._unfinished += count
            except BlockingIOError:
                # Another process has made the shared terminal non-blocking.
                select.select([], [descriptor], [])
            else:
                rest = rest[count:]


@contextlib.contextmanager
def open_writer() -> Iterator[OutputWriter]:
    """Yield a writer, and close it at the end of the context."""
    writer = OutputWriter()
    try:
        yield writer
    finally:
        writer.close()


def _descriptor(stream: TextIO) -> int:
    stream.flush()
    return stream.fileno()


def _complete(written: asyncio.Future[None], error: OSError | None) -> None:
    if written.done():  # cancelled
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
