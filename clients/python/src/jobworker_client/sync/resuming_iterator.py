"""An iterator over the calls of a `ResumableCall`."""

import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Generic, Self, TypeVar

import grpc

from jobworker_client.errors import JobWorkerError
from jobworker_client.resumable_call import ResumableCall
from jobworker_client.sync.connection import Connection, StreamCall

__all__ = ["ResumingIterator"]

Request = TypeVar("Request")
Message = TypeVar("Message")
Item = TypeVar("Item")


class ResumingIterator(Generic[Request, Message, Item]):
    """The items of a stream as an iterator and context manager."""

    def __init__(
        self,
        connection: Connection,
        calls: ResumableCall[Request, Message, Item],
        method: Callable[..., StreamCall[Message]],
    ) -> None:
        self._connection = connection
        self._calls = calls
        self._method = method
        self._call: StreamCall[Message] | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        """Return the iterator."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()

    def close(self) -> None:
        """Cancel the call and end the iteration, even in another thread."""
        self._closed.set()
        self._calls.ended = True
        self._cancel_call()

    def __iter__(self) -> Self:
        """Return the iterator."""
        return self

    def __next__(self) -> Item:
        """Return the next item."""
        self._calls.commit()
        try:
            while not self._calls.ended:
                item = self._calls.next_item()
                if item is not None:
                    return item
                message = self._next_message()
                if message is not None:
                    self._calls.receive(message)
        finally:
            if self._calls.ended:
                self._cancel_call()
        raise StopIteration

    def _next_message(self) -> Message | None:
        """Return the next message; None after the delay before a retry."""
        try:
            return next(self._call or self._open())
        except StopIteration:
            error = self._calls.end_of_call()
        except grpc.RpcError as rpc_error:
            error = self._connection.to_error(rpc_error)
        if not self._closed.is_set():
            self._wait_before_retry(error)
        return None

    def _open(self) -> StreamCall[Message]:
        request, timeout = self._calls.next_request(monotonic())
        call = self._call = self._method(request, timeout=timeout)
        if self._closed.is_set():  # since the last look, by another thread that saw no call
            self._cancel_call()
        return call

    def _wait_before_retry(self, error: JobWorkerError) -> None:
        self._cancel_call()
        self._closed.wait(self._calls.next_delay(error, monotonic()))

    def _cancel_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
