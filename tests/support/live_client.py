"""Calls a live server through the generated stubs, with the checks that most contract tests share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2, job_service_pb2_grpc
from live import Server

T = TypeVar("T")

HOG = "dd if=/dev/zero of=/dev/null bs=200M count=1"
"""Allocates 200 MiB in one system call: `memory.high` throttles a job that allocates in small steps."""


@dataclass
class Output:
    """The messages of one GetJobsStream call."""

    chunks: list[job_service_pb2.GetJobsStreamResponse] = field(default_factory=list)
    truncated: list[job_output_pb2.TruncatedRange] = field(default_factory=list)
    result: job_pb2.Job | None = None

    def bytes(self, *sources: job_output_pb2.OutputSource.ValueType) -> bytes:
        """Return the output of these sources, or of all."""
        return b"".join(each.payload for each in self.chunks if not sources or each.source in sources)


class Client:
    """The stubs of one channel, with the calls that most tests make."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub = job_service_pb2_grpc.JobServiceStub(channel)

    async def create(self, *argv: str, **fields: Any) -> job_pb2.Job:
        """Create a job, by default with 64 MiB of memory and one core."""
        limits: dict[str, Any] = {"max_memory": 64, "max_cpu": 100}
        request = job_service_pb2.CreateJobRequest(command=argv[0], args=argv[1:], **{**limits, **fields})
        return (await self.stub.CreateJob(request, timeout=60)).job

    async def get(self, job_id: str) -> job_pb2.Job:
        """Return a job."""
        return (await self.stub.GetJob(job_service_pb2.GetJobRequest(id=job_id), timeout=30)).job

    async def stop(self, job_id: str, *, seconds: int | None = None) -> job_pb2.Job:
        """Stop a job with its own grace period or one of `seconds`, and return it."""
        request = job_service_pb2.StopJobRequest(id=job_id)
        if seconds is not None:
            request.grace_period.FromSeconds(seconds)
        return (await self.stub.StopJob(request, timeout=60)).job

    async def update(self, job_id: str, **limits: Any) -> job_pb2.Job:
        """Change limits of a running job, and return it."""
        request = job_service_pb2.UpdateJobRequest(id=job_id, **limits)
        return (await self.stub.UpdateJob(request, timeout=60)).job

    async def wrote(self, job_id: str, text: bytes) -> None:
        """Wait until a job has written a text."""
        request = job_service_pb2.GetJobsStreamRequest(id=job_id)
        output = b""
        call = self.stub.GetJobsStream(request, timeout=60)
        async for message in call:
            output += message.payload
            if text in output:
                call.cancel()
                return
        raise AssertionError(f"{text!r} is not in {output!r}")

    async def stream(self, job_id: str, **fields: Any) -> Output:
        """Follow a job to its end, and check the guarantees of the stream."""
        output = Output()
        request = job_service_pb2.GetJobsStreamRequest(id=job_id, **fields)
        offset = request.offset
        async for message in self.stub.GetJobsStream(request, timeout=120):
            assert output.result is None, "the result is the last message"
            kind = message.WhichOneof("kind")
            # With a filter, output of the other source can lie between two messages.
            can_skip = request.source or kind == "start_offset"
            assert message.offset == offset or (can_skip and message.offset > offset), "no gap"
            offset = message.next_offset
            match kind:
                case "result":
                    assert message.offset == message.next_offset
                    output.result = message.result
                case "payload":
                    length = sum(message.source_run_bytes) or len(message.payload)
                    assert message.payload
                    assert message.next_offset == message.offset + length
                    output.chunks.append(message)
                case "truncated":
                    assert message.truncated.from_offset == message.offset
                    assert message.truncated.to_offset == message.next_offset
                    output.truncated.append(message.truncated)
                case "start_offset":
                    assert message.start_offset == message.offset == message.next_offset
                    assert not output.chunks, "the start offset is in the first message"
                case None:
                    raise AssertionError("a message has a kind")
        return output

    async def started(self, job_id: str) -> job_pb2.Job:
        """Wait until a job runs, and return it. A gateway answers CreateJob while the job still waits."""
        async with asyncio.timeout(60):
            while (job := await self.get(job_id)).status != job_pb2.JOB_STATUS_RUNNING:
                assert job.status in {job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_INITIALIZING}, job
                await asyncio.sleep(0.02)
        return job

    async def ended(self, job_id: str) -> job_pb2.Job:
        """Wait until a job is final, and return it."""
        request = job_service_pb2.WaitJobRequest(id=job_id)
        response = await self.stub.WaitJob(request, timeout=120)
        assert response.done
        return response.job

    async def run(self, *argv: str, **fields: Any) -> tuple[job_pb2.Job, bytes]:
        """Run a job to its end; return the final job and its output."""
        job = await self.create(*argv, **fields)
        output = await self.stream(job.id)
        assert output.result
        return output.result, output.bytes()


@contextlib.asynccontextmanager
async def client(server: Server, role: str) -> AsyncIterator[Client]:
    """Connect with the certificate of a role."""
    async with grpc.aio.secure_channel(server.address, credentials(server.certs, role)) as channel:
        yield Client(channel)


def credentials(certs: Path, role: str) -> grpc.ChannelCredentials:
    """Return channel credentials: the certificate and key of a role, and the CA to trust."""
    return grpc.ssl_channel_credentials(
        root_certificates=(certs / "ca.pem").read_bytes(),
        private_key=(certs / f"{role}-key.pem").read_bytes(),
        certificate_chain=(certs / f"{role}.pem").read_bytes(),
    )


@dataclass
class Refusal:
    """The parts of an error from the server."""

    code: grpc.StatusCode
    reason: str
    fields: list[str]
    message: str
    retry_delay: float = 0.0


_STATUS_LOST = "Internal error from Core"


async def until_status_known(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call, and repeat it while its status is lost.

    grpc.aio loses the status of a call that the server ends during the write of a message.
    """
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.details() != _STATUS_LOST:
                raise


@contextlib.asynccontextmanager
async def refused(code: grpc.StatusCode) -> AsyncIterator[Refusal]:
    """Expect the body to fail with a status code, and fill in the refusal."""
    refusal = Refusal(code, "", [], "")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield refusal
    error = caught.value
    assert error.code() is code, f"{error.code()}: {error.details()}"
    refusal.message = error.details() or ""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            refusal.reason = info.reason
        elif detail.Unpack(bad):
            refusal.fields = [violation.field for violation in bad.field_violations]
        elif detail.Unpack(retry):
            refusal.retry_delay = retry.retry_delay.ToTimedelta().total_seconds()
