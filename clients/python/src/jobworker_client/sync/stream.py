"""A job's output as an iterator: how it waits. What it asks for and makes of it: `reading`."""

import threading
from time import monotonic
from types import TracebackType
from typing import Self

import grpc

from jobworker_client.errors import JobWorkerError
from jobworker_client.pieces import Chunk
from jobworker_client.resumable_stream import Reading, Told, without_result
from jobworker_client.sync.connection import Connection, StreamCall

__all__ = ["SyncStream"]


class SyncStream(Told):
    """A job's output, chunk by chunk, to its end; then `result` is the job.

    A chunk has `payload` (bytes, cut anywhere), `offset` (its first byte's place in the log), `source`
    and `time`. A request with `mixed_sources` gets messages as the server sends them instead, which is
    faster where a job writes many small pieces; `pieces` and `runs` take such a chunk apart.

    The iteration resumes by itself, behind the last chunk, when the connection breaks, when the server
    cuts us off for being slow (READER_STALLED) or is restarted: no byte is missing or comes twice. Bytes
    that the server does not have any more are in `truncated`; `notify` gets them, and each
    resumption, as they come (`Truncated`, `Resuming`).

    One that is not iterated to its end is closed by `with`, or by `close`.
    """

    def __init__(self, connection: Connection, reading: Reading) -> None:
        super().__init__(reading)
        self._connection = connection
        self._call: StreamCall | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        """Returns the stream."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the call."""
        self.close()

    def close(self) -> None:
        """Ends the call, and with it the server's reader, and the iteration, be it in another thread."""
        self._closed.set()
        self._reading.ended = True
        self._hang_up()

    def __iter__(self) -> Self:
        """Returns the stream."""
        return self

    def __next__(self) -> Chunk:
        """Returns the next chunk."""
        self._reading.settle()
        try:
            while not self._reading.ended:
                chunk = self._reading.next_piece()
                if chunk is not None:
                    return chunk
                message = self._message()
                if message is not None:
                    self._reading.take(message)
        finally:
            if self._reading.ended:
                self._hang_up()
        raise StopIteration

    def _message(self) -> Chunk | None:
        """Returns the next message; None = the call has broken, and another one is due."""
        try:
            if self._call is None:
                self._call = self._connection.open(*self._reading.ask(monotonic()))
            return next(self._call)
        except StopIteration:
            failure: JobWorkerError = without_result()
        except grpc.RpcError as error:
            failure = self._connection.failure(error)
        if not self._closed.is_set():
            self._regain(failure)
        return None

    def _regain(self, failure: JobWorkerError) -> None:
        self._hang_up()
        self._closed.wait(self._reading.pause(failure, monotonic()))

    def _hang_up(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
