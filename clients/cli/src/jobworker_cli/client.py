"""The server's methods as the verbs need them: ids by their beginning, retries, one kind of error."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from jobworker.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from jobworker_cli.channel import open_channel
from jobworker_cli.context import Settings
from jobworker_cli.errors import CliError
from jobworker_cli.rpc_errors import from_rpc

__all__ = ["Client", "connect"]

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

FULL_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# The pauses between a call's attempts, in seconds: together more than the second that the server takes
# to start an API process anew, and little enough to wait for where there is no server at all.
PAUSES = (0.1, 0.2, 0.4, 0.8)

CANDIDATES = 5


@contextlib.asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator["Client"]:
    """Makes a client for as long as the context lasts.

    Raises:
        CliError: the certificates or the address cannot be used.
    """
    async with open_channel(settings) as channel:
        yield Client(channel, settings)


class Client:
    """One connection. Every method raises `CliError`, and nothing else, when its call fails."""

    def __init__(self, channel: grpc.aio.Channel, settings: Settings) -> None:
        self._channel = channel
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)
        self._settings = settings

    async def create(self, request: job_service_pb2.CreateJobRequest) -> job_pb2.Job:
        """Starts a job. The request must have a request id, which is what makes retries safe."""
        try:
            return (await self._call(self._stub.CreateJob, request)).job
        except CliError as error:
            if error.code == "DEADLINE_EXCEEDED":
                error.hint = f"with --request-id {request.request_id} a repeated call starts no second job"
            raise

    async def get(self, job_id: str) -> job_pb2.Job:
        """Returns a job by its full id."""
        return (await self._call(self._stub.GetJob, job_service_pb2.GetJobRequest(id=job_id))).job

    async def page(self, request: job_service_pb2.ListJobsRequest) -> job_service_pb2.ListJobsResponse:
        """Returns one page of jobs."""
        return await self._call(self._stub.ListJobs, request)

    async def stop(self, job_id: str, grace_period: timedelta | None = None) -> job_pb2.Job:
        """Ends a job and returns it in its final status, however long its grace period is."""
        request = job_service_pb2.StopJobRequest(id=job_id)
        if grace_period is not None:
            duration = Duration()
            duration.FromTimedelta(grace_period)
            request.grace_period.CopyFrom(duration)
        return (await self._call(self._stub.StopJob, request, bounded=False)).job

    async def update(self, request: job_service_pb2.UpdateJobRequest) -> job_pb2.Job:
        """Changes limits of a running job and returns it."""
        return (await self._call(self._stub.UpdateJob, request)).job

    async def stream(
        self, request: job_service_pb2.GetJobsStreamRequest
    ) -> AsyncGenerator[job_service_pb2.GetJobsStreamResponse, None]:
        """Yields a stream's messages. It is tried once only; close the generator to end the call."""
        call = self._stub.GetJobsStream(request)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()

    async def reconnected(self, within: float) -> bool:
        """Waits up to `within` seconds for a connection and tells whether there is one."""
        try:
            async with asyncio.timeout(within):
                await self._channel.channel_ready()
        except TimeoutError:
            return False
        return True

    async def resolve(self, job: str) -> str:
        """Returns the full id of the one job whose id begins with `job`."""
        if FULL_ID.fullmatch(job):
            return job.lower()
        if not job:
            raise CliError("the job's id is empty", hint="`jobworker list` shows the ids")
        request = job_service_pb2.ListJobsRequest(id_prefix=job.lower(), page_size=CANDIDATES)
        found = await self.page(request)
        if not found.jobs:
            raise CliError(
                f'no job "{job}"',
                hint="`jobworker list` shows the jobs that the server knows",
                code="NOT_FOUND",
                reason="JOB_NOT_FOUND",
            )
        if len(found.jobs) > 1:
            raise _ambiguous(job, found)
        return found.jobs[0].id

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        bounded: bool = True,
    ) -> Response:
        """Makes a call that is safe to repeat, again and again while the server is away for a moment.

        The failure that is raised is the first one. Of a host with several addresses gRPC names one
        address's error, and later attempts may meet only the one that nobody listens on, while the one
        that refused us is in back-off.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.timeout
        first: CliError | None = None
        for pause in (*PAUSES, None):
            try:
                timeout = max(0.0, deadline - loop.time()) if bounded else None
                return await method(request, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                failure = self._failure(error)
                first = first or failure
                too_late = bounded and loop.time() + (pause or 0.0) >= deadline
                if not failure.retryable:
                    raise failure from error
                if pause is None or too_late:
                    raise first from error
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _failure(self, error: grpc.aio.AioRpcError) -> CliError:
        return from_rpc(error, server=self._settings.server)


def _ambiguous(job: str, found: job_service_pb2.ListJobsResponse) -> CliError:
    ids = ", ".join(candidate.id for candidate in found.jobs)
    more = " and more" if found.next_page_token else ""
    return CliError(
        f'"{job}" is the beginning of more than one id: {ids}{more}',
        hint="give more of the id",
        code="INVALID_ARGUMENT",
        reason="AMBIGUOUS_ID",
    )
