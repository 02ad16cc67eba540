"""A channel for asyncio, with retries and a bounded wait for a connection."""

import asyncio
from time import monotonic
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from jobworker.v1 import (
    cluster_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    login_service_pb2_grpc,
)
from jobworker_client import tracing
from jobworker_client.aio.stream_span import traced
from jobworker_client.channel import channel_parts
from jobworker_client.config import ClientConfig
from jobworker_client.errors import JobWorkerError
from jobworker_client.resumable_stream import Chunk
from jobworker_client.retry_policy import CallRetry, RetryPolicy
from jobworker_client.status import from_rpc

__all__ = ["Connection", "StreamCall"]

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
StreamRequest = job_service_pb2.GetJobsStreamRequest
StreamCall = grpc.aio.UnaryStreamCall[StreamRequest, Chunk]


class Connection:
    """A channel to one server. It connects on the first call, and reconnects when needed."""

    def __init__(self, config: ClientConfig, retry_policy: RetryPolicy) -> None:
        # Without a running loop gRPC uses any other loop and hangs.
        asyncio.get_running_loop()
        parts = channel_parts(config)
        self._server = config.server
        self._retry_policy = retry_policy
        self._channel = grpc.aio.secure_channel(parts.target, parts.credentials, options=parts.options)
        self.stub = job_service_pb2_grpc.JobServiceStub(self._channel)
        self.cluster_stub = cluster_service_pb2_grpc.ClusterServiceStub(self._channel)
        self.login_stub = login_service_pb2_grpc.LoginServiceStub(self._channel)

    async def close(self) -> None:
        """Close the connection and cancel its calls."""
        await self._channel.close()

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        deadline: float | None,
    ) -> Response:
        """Make an idempotent call, with retries, within `deadline` seconds.

        Raises:
            JobWorkerError: the call failed.
        """
        retry = CallRetry(self._retry_policy, deadline, monotonic())
        while True:
            try:
                return await self.call_once(method, request, retry.timeout(monotonic()))
            except JobWorkerError as error:
                error.retries = retry.retries
                delay = retry.next_delay(error, monotonic())
            await asyncio.sleep(delay)

    async def call_once(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        seconds: float | None,
    ) -> Response:
        """Make a call without retries, within some seconds.

        Raises:
            JobWorkerError: the call failed.
        """
        try:
            with tracing.span(request) as metadata:
                return await method(request, timeout=seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise self.to_error(error) from error

    def open(self, request: StreamRequest, timeout: float | None) -> StreamCall:
        """Start a stream with a timeout in seconds; its `read` raises `grpc.RpcError`."""
        return traced(
            "GetJobsStream",
            lambda metadata: self.stub.GetJobsStream(request, timeout=timeout, metadata=metadata),
        )

    async def wait_ready(self, seconds: float) -> bool:
        """Wait for a connection for some seconds; return whether there is one."""
        try:
            async with asyncio.timeout(seconds):
                await self._channel.channel_ready()
        except TimeoutError:
            return False
        return True

    def to_error(self, error: grpc.RpcError) -> JobWorkerError:
        """Return the error that a failed call raises."""
        converted = from_rpc(error, server=self._server)
        converted.__cause__ = error
        return converted
