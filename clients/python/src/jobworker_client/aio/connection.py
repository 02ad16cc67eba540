"""A channel with asyncio: how a call is made again, and how long a connection is waited for."""

import asyncio
from time import monotonic
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from jobworker_client.channel import channel_parts
from jobworker_client.errors import JobWorkerError
from jobworker_client.resumable_stream import Chunk
from jobworker_client.retry_policy import Attempts
from jobworker_client.status import from_rpc
from jobworker_client.target import Target

__all__ = ["Connection", "StreamCall"]

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
StreamRequest = job_service_pb2.GetJobsStreamRequest
StreamCall = grpc.aio.UnaryStreamCall[StreamRequest, Chunk]


class Connection:
    """A channel to one server. It connects with its first call, and anew whenever it must."""

    def __init__(self, target: Target) -> None:
        # gRPC would take any loop that it finds, and hang with it.
        asyncio.get_running_loop()
        parts = channel_parts(target)
        self._server = target.server
        self._channel = grpc.aio.secure_channel(parts.target, parts.credentials, options=parts.options)
        self.stub = job_service_pb2_grpc.JobServiceStub(self._channel)

    async def close(self) -> None:
        """Ends the connection and its calls."""
        await self._channel.close()

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        deadline: float | None,
    ) -> Response:
        """Makes a call that is safe to repeat, with as many attempts as it takes, in `deadline` seconds.

        Raises:
            JobWorkerError: it has failed.
        """
        attempts = Attempts(deadline, monotonic())
        while True:
            try:
                return await method(request, timeout=attempts.timeout(monotonic()))
            except grpc.aio.AioRpcError as error:
                pause = attempts.pause(self.failure(error), monotonic())
            await asyncio.sleep(pause)

    def open(self, request: StreamRequest, timeout: float | None) -> StreamCall:
        """Begins a stream, which may take `timeout` seconds; its `read` raises gRPC's errors."""
        return self.stub.GetJobsStream(request, timeout=timeout)

    async def ready(self, within: float) -> bool:
        """Waits up to `within` seconds for a connection and tells whether there is one."""
        try:
            async with asyncio.timeout(within):
                await self._channel.channel_ready()
        except TimeoutError:
            return False
        return True

    def failure(self, error: grpc.RpcError) -> JobWorkerError:
        """Returns what a failed call raises."""
        failure = from_rpc(error, server=self._server)
        failure.__cause__ = error
        return failure
