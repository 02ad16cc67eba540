"""The output of a job as an asynchronous iterator over the calls of a `ResumableStream`."""

import asyncio
from collections.abc import Awaitable
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

import grpc

from jobworker.v1.job_service_pb2 import GetJobsStreamRequest
from jobworker_client.chunks import Chunk
from jobworker_client.errors import JobWorkerError
from jobworker_client.resumable_stream import ResumableStream, StreamStatus, missing_result

__all__ = ["JobStream"]


class Call(Protocol):
    """A call that returns output."""

    async def read(self) -> object:
        """Return the next message, or the EOF of gRPC."""

    def cancel(self) -> object:
        """Cancel the call."""


class Opener(Protocol):
    """A connection that opens such calls."""

    def open(self, request: GetJobsStreamRequest, timeout: float | None, /) -> Call:
        """Start a call with a timeout in seconds; its `read` raises `grpc.RpcError`."""

    def wait_ready(self, seconds: float) -> Awaitable[bool]:
        """Wait for a connection for some seconds; return whether there is one."""

    def to_error(self, error: grpc.RpcError) -> JobWorkerError:
        """Return the error that a failed call raises."""


class JobStream(StreamStatus):
    """The output of a job as an asynchronous iterator and context manager; see `StreamStatus`."""

    def __init__(self, connection: Opener, state: ResumableStream) -> None:
        super().__init__(state)
        self._connection = connection
        self._call: Call | None = None

    async def __aenter__(self) -> Self:
        """Return the stream."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()

    def close(self) -> None:
        """Cancel the call and end the iteration."""
        self._state.ended = True
        self._cancel_call()

    def __aiter__(self) -> Self:
        """Return the stream."""
        return self

    async def __anext__(self) -> Chunk:
        """Return the next chunk."""
        self._state.commit()
        try:
            while not self._state.ended:
                chunk = self._state.next_chunk()
                if chunk is not None:
                    return chunk
                message = await self._next_message()
                if message is not None:
                    self._state.receive(message)
        finally:
            if self._state.ended:
                self._cancel_call()
        raise StopAsyncIteration

    async def _next_message(self) -> Chunk | None:
        """Return the next message; None after a reconnect."""
        try:
            if self._call is None:
                self._call = self._connection.open(*self._state.next_request(monotonic()))
            message = await self._call.read()
            if isinstance(message, Chunk):
                return message
            error: JobWorkerError = missing_result()
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
        await asyncio.sleep(self._state.next_delay(error, monotonic()))
        if not await self._connection.wait_ready(self._state.time_left(monotonic())):
            raise self._state.expire(error, monotonic())

    def _cancel_call(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
