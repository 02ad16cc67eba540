"""A channel for threads, with retries.

Unlike the asyncio client, this one does not wait for a connection. gRPC would do so in a thread that prints
a traceback when the channel closes (`grpc.channel_ready_future`). Without a connection, calls fail at once.
"""

import time
from time import monotonic
from typing import Protocol, TypeVar, cast

import grpc
from google.protobuf.message import Message

from jobworker.v1 import cluster_service_pb2_grpc, job_service_pb2_grpc
from jobworker.v1 import job_service_pb2 as api
from jobworker.v1.cluster_service_pb2 import ListNodesRequest, ListNodesResponse
from jobworker.v1.job_watch_pb2 import WatchJobsRequest, WatchJobsResponse
from jobworker_client import tracing
from jobworker_client.channel import channel_parts
from jobworker_client.config import ClientConfig
from jobworker_client.errors import JobWorkerError
from jobworker_client.retry_policy import CallRetry, RetryPolicy
from jobworker_client.status import from_rpc

__all__ = ["Connection", "StreamCall"]

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
StreamMessage_co = TypeVar("StreamMessage_co", covariant=True)


class StreamCall(Protocol[StreamMessage_co]):
    """The messages of a stream; the iteration raises `grpc.RpcError`."""

    def __next__(self) -> StreamMessage_co:
        """Return the next message."""
        ...

    def cancel(self) -> bool:
        """Cancel the call."""
        ...


class Stub(Protocol):
    """Types of the stub on a channel for threads; the generated types are those of `grpc.aio`."""

    CreateJob: "grpc.UnaryUnaryMultiCallable[api.CreateJobRequest, api.CreateJobResponse]"
    GetJob: "grpc.UnaryUnaryMultiCallable[api.GetJobRequest, api.GetJobResponse]"
    ListJobs: "grpc.UnaryUnaryMultiCallable[api.ListJobsRequest, api.ListJobsResponse]"
    StopJob: "grpc.UnaryUnaryMultiCallable[api.StopJobRequest, api.StopJobResponse]"
    WaitJob: "grpc.UnaryUnaryMultiCallable[api.WaitJobRequest, api.WaitJobResponse]"
    DeleteJob: "grpc.UnaryUnaryMultiCallable[api.DeleteJobRequest, api.DeleteJobResponse]"
    UpdateJob: "grpc.UnaryUnaryMultiCallable[api.UpdateJobRequest, api.UpdateJobResponse]"
    WatchJobs: "grpc.UnaryStreamMultiCallable[WatchJobsRequest, WatchJobsResponse]"
    GetJobsStream: "grpc.UnaryStreamMultiCallable[api.GetJobsStreamRequest, api.GetJobsStreamResponse]"
    AttachJob: "grpc.StreamStreamMultiCallable[api.AttachJobRequest, api.AttachJobResponse]"


class ClusterStub(Protocol):
    """Types of the stub of ClusterService on a channel for threads."""

    ListNodes: "grpc.UnaryUnaryMultiCallable[ListNodesRequest, ListNodesResponse]"


class Connection:
    """A channel to one server. It connects on the first call, and reconnects when needed."""

    def __init__(self, config: ClientConfig, retry_policy: RetryPolicy) -> None:
        parts = channel_parts(config)
        self._server = config.server
        self._retry_policy = retry_policy
        self._channel = grpc.secure_channel(parts.target, parts.credentials, options=parts.options)
        # The generated stubs only know the type of a channel for asyncio.
        typed = cast("grpc.aio.Channel", self._channel)
        self.stub = cast("Stub", job_service_pb2_grpc.JobServiceStub(typed))
        self.cluster_stub = cast("ClusterStub", cluster_service_pb2_grpc.ClusterServiceStub(typed))

    def close(self) -> None:
        """Close the connection and cancel its calls."""
        self._channel.close()

    def call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Request, Response]",
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
                return self.call_once(method, request, retry.timeout(monotonic()))
            except JobWorkerError as error:
                error.retries = retry.retries
                delay = retry.next_delay(error, monotonic())
            time.sleep(delay)

    def call_once(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Request, Response]",
        request: Request,
        seconds: float | None,
    ) -> Response:
        """Make a call without retries, within some seconds.

        Raises:
            JobWorkerError: the call failed.
        """
        try:
            with tracing.span(request) as metadata:
                return method(request, timeout=seconds, metadata=metadata)
        except grpc.RpcError as error:
            raise self.to_error(error) from error

    def to_error(self, error: grpc.RpcError) -> JobWorkerError:
        """Return the error that a failed call raises."""
        converted = from_rpc(error, server=self._server)
        converted.__cause__ = error
        return converted
