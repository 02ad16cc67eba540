"""An asynchronous iterator over the calls of a `ResumableCall`."""

import asyncio
from collections.abc import Awaitable
from time import monotonic
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, cast

import grpc

from jobworker_client.errors import JobWorkerError
from jobworker_client.resumable_call import ResumableCall

__all__ = ["Call", "Opener", "ResumingIterator"]

Request = TypeVar("Request")
Request_contra = TypeVar("Request_contra", contravariant=True)
Message = TypeVar("Message")
Item = TypeVar("Item")


class Call(Protocol):
    """A call that returns messages."""

    def read(self) -> Awaitable[object]:
        """Return the next message, or the EOF of gRPC. Raises `grpc.RpcError`."""

    def cancel(self) -> object:
        """Cancel the call."""


class Opener(Protocol[Request_contra]):
    """A connection that opens such calls."""

    def open(self, request: Request_contra, timeout: float | None, /) -> Call:
        """Start a call with a timeout in seconds."""

    def wait_ready(self, seconds: float) -> Awaitable[bool]:
        """Wait for a connection for some seconds; return whether there is one."""

    def to_error(self, error: grpc.RpcError) -> JobWorkerError:
        """Return the error that a failed call raises."""


class ResumingIterator(Generic[Request, Message, Item]):
    """The items of a stream as an asynchronous iterator and context manager."""

    def __init__(self, connection: Opener[Request], calls: ResumableCall[Request, Message, Item]) -> None:
        self._connection = connection
        self._calls = calls
        self._call: Call | None = None

    async def __aenter__(self) -> Self:
        """Return the iterator."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()

    def close(self) -> None:
        """Cancel the call and end the iteration."""
        self._calls.ended = True
        self._cancel_call()

    def __aiter__(self) -> Self:
        """Return the iterator."""
        return self

    async def __anext__(self) -> Item:
        """Return the next item."""
        self._calls.commit()
        try:
            while not self._calls.ended:
                item = self._calls.next_item()
                if item is not None:
                    return item
                message = await self._next_message()
                if message is not None:
                    self._calls.receive(message)
        finally:
            if self._calls.ended:
                self._cancel_call()
        raise StopAsyncIteration

    async def _next_message(self) -> Message | None:
        """Return the next message; None after a reconnect."""
        try:
            if self._call is None:
                self._call = self._connection.open(*self._calls.next_request(monotonic()))
            message = await self._call.read()
            if message is not grpc.aio.EOF:
                return cast("Message", message)
            error = self._calls.end_of_call()
        except grpc.aio.AioRpcError as rpc_error:
            error = self._connection.to_error(rpc_error)
        except asyncio.CancelledError:
            # gRPC cancels the call together with the read; the next read resumes the stream.
            self._cancel_call()
            raise
        await self._reconnect(error)
        return None

    async def _reconnect(self, error: JobWorkerError) -> None:
        self._cancel_call()
        await asyncio.sleep(self._calls.next_delay(error, monotonic()))
        if not await self._connection.wait_ready(self._calls.time_left(monotonic())):
            raise self._calls.expire(error, monotonic())

    def _cancel_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
