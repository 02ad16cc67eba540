"""The output of a job as an iterator over the calls of a `ResumableStream`."""

import threading
from time import monotonic
from types import TracebackType
from typing import Self

import grpc

from jobworker_client.chunks import Chunk
from jobworker_client.errors import JobWorkerError
from jobworker_client.resumable_stream import ResumableStream, StreamStatus, missing_result
from jobworker_client.sync.connection import Connection, StreamCall

__all__ = ["SyncJobStream"]


class SyncJobStream(StreamStatus):
    """The output of a job as an iterator and context manager; see `StreamStatus`."""

    def __init__(self, connection: Connection, state: ResumableStream) -> None:
        super().__init__(state)
        self._connection = connection
        self._call: StreamCall | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        """Return the stream."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()

    def close(self) -> None:
        """Cancel the call and end the iteration, even in another thread."""
        self._closed.set()
        self._state.ended = True
        self._cancel_call()

    def __iter__(self) -> Self:
        """Return the stream."""
        return self

    def __next__(self) -> Chunk:
        """Return the next chunk."""
        self._state.commit()
        try:
            while not self._state.ended:
                chunk = self._state.next_chunk()
                if chunk is not None:
                    return chunk
                message = self._next_message()
                if message is not None:
                    self._state.receive(message)
        finally:
            if self._state.ended:
                self._cancel_call()
        raise StopIteration

    def _next_message(self) -> Chunk | None:
        """Return the next message; None after the delay before a retry."""
        try:
            if self._call is None:
                self._call = self._connection.open(*self._state.next_request(monotonic()))
            return next(self._call)
        except StopIteration:
            error: JobWorkerError = missing_result()
        except grpc.RpcError as rpc_error:
            error = self._connection.to_error(rpc_error)
        if not self._closed.is_set():
            self._wait_before_retry(error)
        return None

    def _wait_before_retry(self, error: JobWorkerError) -> None:
        self._cancel_call()
        self._closed.wait(self._state.next_delay(error, monotonic()))

    def _cancel_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
