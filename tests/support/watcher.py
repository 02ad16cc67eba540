"""A client of WatchJobs that uses only the stubs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from jobworker.v1 import job_pb2, job_watch_pb2
from live_client import Client

Request = job_watch_pb2.WatchJobsRequest
Response = job_watch_pb2.WatchJobsResponse

FINAL = {
    job_pb2.JOB_STATUS_COMPLETED,
    job_pb2.JOB_STATUS_FAILED,
    job_pb2.JOB_STATUS_STOPPED,
    job_pb2.JOB_STATUS_LOST,
}


@dataclass
class Watcher:
    """A client that keeps a picture of the jobs, as the comments of the API describe it."""

    call: grpc.aio.UnaryStreamCall[Request, Response]
    jobs: dict[str, job_pb2.Job] = field(default_factory=dict)
    messages: list[Response] = field(default_factory=list)
    cursor: str = ""

    async def next(self, seconds: float | None = 60.0) -> Response:
        """Return the next message, within some seconds."""
        async with asyncio.timeout(seconds):
            message = await self.call.read()
        assert message is not grpc.aio.EOF
        assert isinstance(message, Response)
        self.messages.append(message)
        match message.WhichOneof("kind"):
            case "changed":
                self.jobs[message.changed.job.id] = message.changed.job
            case "removed":
                self.jobs.pop(message.removed.id, None)
            case "reset":
                self.jobs.clear()
            case "bookmark":
                self.cursor = message.bookmark.cursor
        return message

    async def synced(self) -> "Watcher":
        """Read up to the next bookmark."""
        while (await self.next()).WhichOneof("kind") != "bookmark":
            pass
        return self

    async def final(self, job_id: str) -> job_pb2.Job:
        """Read up to the final status of a job."""
        while job_id not in self.jobs or self.jobs[job_id].status not in FINAL:
            await self.next()
        return self.jobs[job_id]

    async def removed(self, job_id: str) -> job_watch_pb2.RemovalReason.ValueType:
        """Read up to the removal of a job, and return the reason."""
        while (message := await self.next()).removed.id != job_id:
            pass
        return message.removed.reason


@asynccontextmanager
async def watching(client: Client, **fields: Any) -> AsyncIterator[Watcher]:
    """Watch jobs until the context is left. The fields are those of the request."""
    call = client.stub.WatchJobs(Request(**fields))
    try:
        yield Watcher(call)
    finally:
        call.cancel()
