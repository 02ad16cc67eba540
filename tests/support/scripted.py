"""A scripted implementation of the API, for the unit tests of the client and the command."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import grpc
from grpc_status import rpc_status

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2, job_service_pb2_grpc
from scripted_messages import FAILED_PRECONDITION, RESTARTING, Refusal, StreamMessage, end_by_signal, stdout
from watch_messages import WatchMessage, WatchRequest, bookmark, changed

JOB_ID = "0199f3a0-0000-7000-8000-000000000001"

CreateRequest = job_service_pb2.CreateJobRequest
CreateResponse = job_service_pb2.CreateJobResponse
GetRequest = job_service_pb2.GetJobRequest
GetResponse = job_service_pb2.GetJobResponse
ListRequest = job_service_pb2.ListJobsRequest
ListResponse = job_service_pb2.ListJobsResponse
DeleteRequest = job_service_pb2.DeleteJobRequest
DeleteResponse = job_service_pb2.DeleteJobResponse
StopRequest = job_service_pb2.StopJobRequest
StopResponse = job_service_pb2.StopJobResponse
UpdateRequest = job_service_pb2.UpdateJobRequest
UpdateResponse = job_service_pb2.UpdateJobResponse
WaitRequest = job_service_pb2.WaitJobRequest
WaitResponse = job_service_pb2.WaitJobResponse
StreamRequest = job_service_pb2.GetJobsStreamRequest
AttachRequest = job_service_pb2.AttachJobRequest
AttachResponse = job_service_pb2.AttachJobResponse

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext
Streaming = Callable[[StreamRequest], AsyncIterator[StreamMessage]]
Watching = Callable[[WatchRequest], AsyncIterator[WatchMessage]]
Create = Callable[[CreateRequest], Awaitable[job_pb2.Job]]
Wait = Callable[[WaitRequest], Awaitable[WaitResponse]]
Stop = Callable[[StopRequest], Awaitable[job_pb2.Job]]


class FakeServer(job_service_pb2_grpc.JobServiceServicer):
    """A server whose handlers a test can replace, and which records the requests.

    Attributes:
        jobs: the jobs by id.
        log: the output of every job, all of stdout, unless `streaming` is replaced.
        refusals: the refusals of the next calls, by the name of the method.
        traces: the method and the values of `traceparent` and `tracestate` of each call.
        creating, stopping, watching, streaming: the handlers of CreateJob, StopJob, WatchJobs and
            GetJobsStream.
        aging: called with each job before GetJob or ListJobs returns it.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, job_pb2.Job] = {}
        self.log = b""
        self.refusals: dict[str, list[Refusal]] = {}
        self.traces: list[tuple[str, str, str]] = []
        self.created: list[CreateRequest] = []
        self.listed: list[ListRequest] = []
        self.stopped: list[StopRequest] = []
        self.deleted: list[str] = []
        self.updated: list[UpdateRequest] = []
        self.waited: list[WaitRequest] = []
        self.watched: list[WatchRequest] = []
        self.streamed: list[StreamRequest] = []
        self.attached: list[job_attach_pb2.AttachStart] = []
        self.input = bytearray()
        """The input that AttachJob has accepted."""
        self.breaks, self.breaking = list[int](), RESTARTING
        self.sizes: list[tuple[int, int, int]] = []
        """The columns, the rows and the log offset of each size that AttachJob sends first."""
        self.controls: list[AttachRequest] = []
        """The signals and sizes that AttachJob has received."""
        self.creating: Create = self._create_job
        self.stopping: Stop = self._stop_job
        self.waiting: Wait = self._wait_job
        self.watching: Watching = self._watch_jobs
        self.streaming: Streaming = self._stream_log
        self.aging: Callable[[job_pb2.Job], None] = lambda _: None

    def add(self, job_id: str = JOB_ID, **fields: object) -> job_pb2.Job:
        """Add a job, which by default exited with 0, and return it."""
        job = job_pb2.Job(id=job_id, command="true", status=job_pb2.JOB_STATUS_COMPLETED, exit_code=0)
        job.termination.reason = job_pb2.TERMINATION_REASON_EXITED
        for name, value in fields.items():
            setattr(job, name, value)
        self.jobs[job_id] = job
        return job

    async def CreateJob(  # noqa: N802 - the name of the RPC
        self, request: CreateRequest, context: "Context[CreateRequest, Awaitable[CreateResponse]]"
    ) -> CreateResponse:
        """Record the request and call `creating`."""
        self.created.append(request)
        async with self._refusing("CreateJob", context):
            return CreateResponse(job=await self.creating(request))

    async def GetJob(  # noqa: N802
        self, request: GetRequest, context: "Context[GetRequest, Awaitable[GetResponse]]"
    ) -> GetResponse:
        """Return one of `jobs`."""
        async with self._refusing("GetJob", context):
            job = self._job(request.id)
            self.aging(job)
            return GetResponse(job=job)

    async def ListJobs(  # noqa: N802
        self, request: ListRequest, context: "Context[ListRequest, Awaitable[ListResponse]]"
    ) -> ListResponse:
        """Return a page of `jobs`; the page token is the number of preceding jobs."""
        self.listed.append(request)
        async with self._refusing("ListJobs", context):
            found = [job for job in self.jobs.values() if job.id.startswith(request.id_prefix)]
            first = int(request.page_token or 0)
            for job in found:
                self.aging(job)
            rest = found[first + request.page_size :]
            return ListResponse(
                jobs=found[first : first + request.page_size],
                next_page_token=str(first + request.page_size) if rest else "",
            )

    async def StopJob(  # noqa: N802
        self, request: StopRequest, context: "Context[StopRequest, Awaitable[StopResponse]]"
    ) -> StopResponse:
        """Record the request and call `stopping`."""
        self.stopped.append(request)
        async with self._refusing("StopJob", context):
            return StopResponse(job=await self.stopping(request))

    async def DeleteJob(  # noqa: N802
        self, request: DeleteRequest, context: "Context[DeleteRequest, Awaitable[DeleteResponse]]"
    ) -> DeleteResponse:
        """Remove one of `jobs`."""
        self.deleted.append(request.id)
        async with self._refusing("DeleteJob", context):
            job = self._job(request.id)
            if job.status in {job_pb2.JOB_STATUS_INITIALIZING, job_pb2.JOB_STATUS_RUNNING}:
                raise Refusal(FAILED_PRECONDITION, f"job {job.id} is running", "JOB_NOT_FINAL")
            del self.jobs[request.id]
            return DeleteResponse()

    async def WaitJob(  # noqa: N802
        self, request: WaitRequest, context: "Context[WaitRequest, Awaitable[WaitResponse]]"
    ) -> WaitResponse:
        """Answer with `waiting`."""
        self.waited.append(request)
        async with self._refusing("WaitJob", context):
            return await self.waiting(request)

    async def WatchJobs(  # noqa: N802
        self, request: WatchRequest, context: "Context[WatchRequest, AsyncIterator[WatchMessage]]"
    ) -> AsyncIterator[WatchMessage]:
        """Record the request and call `watching`."""
        self.watched.append(request)
        async with self._refusing("WatchJobs", context):
            async for message in self.watching(request):
                yield message

    async def GetJobsStream(  # noqa: N802
        self, request: StreamRequest, context: "Context[StreamRequest, AsyncIterator[StreamMessage]]"
    ) -> AsyncIterator[StreamMessage]:
        """Record the request and call `streaming`."""
        # The Python client always requests mixed sources, so tests compare requests without it.
        request.mixed_sources = False
        self.streamed.append(request)
        async with self._refusing("GetJobsStream", context):
            async for message in self.streaming(request):
                yield message

    async def AttachJob(  # noqa: N802
        self,
        requests: AsyncIterator[AttachRequest],
        context: "Context[AsyncIterator[AttachRequest], AsyncIterator[AttachResponse]]",
    ) -> AsyncIterator[AttachResponse]:
        """Accept input and then send the log; without an input id, send it at once.

        The call breaks with the status `breaking` after each number of parts in `breaks`.
        """
        async with self._refusing("AttachJob", context):
            received = aiter(requests)
            start = (await anext(received)).start
            self.attached.append(start)
            for size in self.sizes:
                yield _resized(*size)
            if start.input_id:
                yield _accepted(len(self.input))
                async for message in received:
                    if message.WhichOneof("kind") in {"signal", "resize"}:
                        self.controls.append(message)
                        continue
                    self._take_input(message)
                    yield _accepted(len(self.input))
                    if message.HasField("eof"):
                        break
            async for output in self.streaming(StreamRequest(id=start.id, offset=start.offset)):
                yield AttachResponse(output=output)

    def _take_input(self, message: AttachRequest) -> None:
        if self.breaks and not self.breaks[0]:
            self.breaks.pop(0)
            raise self.breaking
        if self.breaks:
            self.breaks[0] -= 1
        assert message.input.offset <= len(self.input), "no gap"
        self.input += message.input.data[len(self.input) - message.input.offset :]

    async def UpdateJob(  # noqa: N802
        self, request: UpdateRequest, context: "Context[UpdateRequest, Awaitable[UpdateResponse]]"
    ) -> UpdateResponse:
        """Set the memory limit of one of `jobs` and return it."""
        self.updated.append(request)
        async with self._refusing("UpdateJob", context):
            job = self._job(request.id)
            job.max_memory = request.max_memory
            return UpdateResponse(job=job)

    @contextlib.asynccontextmanager
    async def _refusing(self, method: str, context: "Context[Request, Response]") -> AsyncIterator[None]:
        metadata = dict(context.invocation_metadata() or ())
        parent, state = metadata.get("traceparent", ""), metadata.get("tracestate", "")
        self.traces.append((method, str(parent), str(state)))
        try:
            if refusals := self.refusals.get(method):
                raise refusals.pop(0)
            yield
        except Refusal as refusal:
            await context.abort_with_status(rpc_status.to_status(refusal.status))

    def _job(self, job_id: str) -> job_pb2.Job:
        if job_id not in self.jobs:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"job {job_id!r} does not exist", "JOB_NOT_FOUND")
        return self.jobs[job_id]

    async def _create_job(self, request: CreateRequest) -> job_pb2.Job:
        job = self.add()
        job.command = request.command
        job.args[:] = request.args
        return job

    async def _stop_job(self, request: StopRequest) -> job_pb2.Job:
        job = self._job(request.id)
        end_by_signal(job, signal.SIGTERM, job_pb2.TERMINATION_REASON_STOPPED, "stopped by CN=admin")
        return job

    async def _wait_job(self, request: WaitRequest) -> WaitResponse:
        job = self._job(request.id)
        return WaitResponse(job=job, done=job.status != job_pb2.JOB_STATUS_RUNNING)

    async def _watch_jobs(self, request: WatchRequest) -> AsyncIterator[WatchMessage]:
        """Yield `jobs`, or those with the ids of the request, a bookmark, and each change."""
        sent: dict[str, bytes] = {}
        revision = 0
        while True:
            for job in list(self.jobs.values()):
                if request.ids and job.id not in request.ids:
                    continue
                if sent.get(job.id) != (state := job.SerializeToString()):
                    sent[job.id] = state
                    yield changed(job, revision)
            if not revision:
                yield bookmark("snapshot")
            revision += 1
            await asyncio.sleep(0.01)

    async def _stream_log(self, request: StreamRequest) -> AsyncIterator[StreamMessage]:
        job = self._job(request.id)
        if request.offset < len(self.log):
            yield stdout(self.log[request.offset :], request.offset)
        yield StreamMessage(result=job, offset=len(self.log))


def _accepted(offset: int) -> AttachResponse:
    return AttachResponse(input_accepted=job_attach_pb2.InputAccepted(offset=offset))


def _resized(columns: int, rows: int, log_offset: int) -> AttachResponse:
    size = job_pb2.TerminalResize(columns=columns, rows=rows, log_offset=log_offset)
    return AttachResponse(resized=size)


def play(server: FakeServer, *streams: Sequence[StreamMessage | Refusal]) -> None:
    """Serve one of the streams per call; a complete stream ends with the result of the job."""
    job, script = server.add(), list(streams)

    async def streaming(_: StreamRequest) -> AsyncIterator[StreamMessage]:
        for message in script.pop(0):
            if isinstance(message, Refusal):
                raise message
            yield message
        yield StreamMessage(result=job)

    server.streaming = streaming


async def until(predicate: Callable[[], bool]) -> None:
    """Wait until the predicate is true; fail after 30 s."""
    async with asyncio.timeout(30):
        while not predicate():
            await asyncio.sleep(0.01)
