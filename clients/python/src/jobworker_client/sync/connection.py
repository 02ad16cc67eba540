"""A channel without asyncio, and how a call is made again.

No connection is waited for here, as it is with asyncio: gRPC does that in a thread which fails, loudly,
once the channel is closed (`grpc.channel_ready_future`). While there is none, calls fail at once.
"""

import time
from time import monotonic
from typing import Protocol, TypeVar, cast

import grpc
from google.protobuf.message import Message

from jobworker.v1 import job_service_pb2 as api
from jobworker.v1 import job_service_pb2_grpc
from jobworker_client.channel import channel_parts
from jobworker_client.errors import JobWorkerError
from jobworker_client.resumable_stream import Chunk
from jobworker_client.retry_policy import Attempts
from jobworker_client.status import from_rpc
from jobworker_client.target import Target

__all__ = ["Connection", "StreamCall"]

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
StreamRequest = api.GetJobsStreamRequest


class StreamCall(Protocol):
    """A stream's messages; the iteration raises gRPC's errors."""

    def __next__(self) -> Chunk:
        """Returns the next message."""
        ...

    def cancel(self) -> bool:
        """Ends the call."""
        ...


class Stub(Protocol):
    """The generated stub over a channel without asyncio: its own types are those of `grpc.aio`."""

    CreateJob: "grpc.UnaryUnaryMultiCallable[api.CreateJobRequest, api.CreateJobResponse]"
    GetJob: "grpc.UnaryUnaryMultiCallable[api.GetJobRequest, api.GetJobResponse]"
    ListJobs: "grpc.UnaryUnaryMultiCallable[api.ListJobsRequest, api.ListJobsResponse]"
    StopJob: "grpc.UnaryUnaryMultiCallable[api.StopJobRequest, api.StopJobResponse]"
    UpdateJob: "grpc.UnaryUnaryMultiCallable[api.UpdateJobRequest, api.UpdateJobResponse]"
    GetJobsStream: "grpc.UnaryStreamMultiCallable[StreamRequest, Chunk]"


class Connection:
    """A channel to one server. It connects with its first call, and anew whenever it must."""

    def __init__(self, target: Target) -> None:
        parts = channel_parts(target)
        self._server = target.server
        self._channel = grpc.secure_channel(parts.target, parts.credentials, options=parts.options)
        stub = job_service_pb2_grpc.JobServiceStub(cast("grpc.aio.Channel", self._channel))
        self.stub = cast("Stub", stub)

    def close(self) -> None:
        """Ends the connection and its calls."""
        self._channel.close()

    def call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Request, Response]",
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
                return method(request, timeout=attempts.timeout(monotonic()))
            except grpc.RpcError as error:
                pause = attempts.pause(self.failure(error), monotonic())
            time.sleep(pause)

    def open(self, request: StreamRequest, timeout: float | None) -> StreamCall:
        """Begins a stream, which may take `timeout` seconds."""
        return self.stub.GetJobsStream(request, timeout=timeout)

    def failure(self, error: grpc.RpcError) -> JobWorkerError:
        """Returns what a failed call raises."""
        failure = from_rpc(error, server=self._server)
        failure.__cause__ = error
        return failure
