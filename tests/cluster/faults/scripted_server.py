"""A server that answers from a script, for the tests of the clients and of the oracle."""

from collections.abc import AsyncIterator, Sequence
from typing import cast

import grpc
from grpc.aio import AioRpcError, Metadata

from jobworker.v1 import job_pb2, job_service_pb2
from tests.cluster.faults.callers import Stub

Message = job_service_pb2.GetJobsStreamResponse


class ScriptedServer:
    """A host or a gateway with jobs, and with the messages of one stream."""

    def __init__(self, *jobs: job_pb2.Job, page: int = 1, stream: Sequence[Message] | None = None) -> None:
        """`page` is the number of jobs in a page. `stream` None = no job has output."""
        self._jobs = jobs
        self._page = page
        self._stream = stream

    @property
    def stub(self) -> Stub:
        """The server as its clients see it."""
        return cast("Stub", self)

    async def GetJob(  # noqa: N802 - the name of the method in the API
        self, request: job_service_pb2.GetJobRequest, **_options: object
    ) -> job_service_pb2.GetJobResponse:
        """Return a job."""
        for job in self._jobs:
            if job.id == request.id:
                return job_service_pb2.GetJobResponse(job=job)
        raise _not_found()

    async def ListJobs(  # noqa: N802
        self, request: job_service_pb2.ListJobsRequest, **_options: object
    ) -> job_service_pb2.ListJobsResponse:
        """Return a page."""
        begin = int(request.page_token or "0")
        end = begin + self._page
        following = str(end) if end < len(self._jobs) else ""
        return job_service_pb2.ListJobsResponse(jobs=self._jobs[begin:end], next_page_token=following)

    async def GetJobsStream(  # noqa: N802
        self, _request: job_service_pb2.GetJobsStreamRequest, **_options: object
    ) -> AsyncIterator[Message]:
        """Yield the messages of the script."""
        if self._stream is None:
            raise _not_found()
        for message in self._stream:
            yield message


def payload(data: bytes, offset: int = 0) -> Message:
    """Return a message with output."""
    return Message(payload=data, offset=offset, next_offset=offset + len(data))


def result(job: job_pb2.Job, offset: int) -> Message:
    """Return the last message of a stream."""
    return Message(result=job, offset=offset, next_offset=offset)


def _not_found() -> AioRpcError:
    return AioRpcError(grpc.StatusCode.NOT_FOUND, Metadata(), Metadata(), "no job has this id")
