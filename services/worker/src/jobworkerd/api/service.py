"""The methods of JobService: they check requests, call the supervisor and convert its replies."""

# ruff: noqa: N802 - the methods have the names that the API gives them

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc, job_watch_pb2
from jobworkerd.api.attach import AttachCall
from jobworkerd.api.streaming.streams import Streams
from jobworkerd.api.watches import Watches
from jobworkerd.config import Config
from jobworkerd.errors import ShuttingDown
from jobworkerd.model import Job
from jobworkerd.protocol import messages
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.node_messages import RunJob
from jobworkerd.rpc_server import attach_validation, call_trace, job_messages, page_token, validation
from jobworkerd.rpc_server.attach_requests import read_start
from jobworkerd.rpc_server.bounds import MAX_PAGE_BYTES
from jobworkerd.rpc_server.convert import job_to_proto
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.job_messages import JobMessages
from jobworkerd.rpc_server.rpc import Context, log_job_id
from jobworkerd.trace_context import TraceContext

_CACHE_BYTES = 8 * 1024 * 1024
"""Enough for several thousand jobs."""

_JOBS_PER_TURN = 50
"""Jobs that are converted before other calls can run. A batch takes at most one millisecond."""


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """Serves `jobworker.v1.JobService`. It raises the errors of jobworkerd.errors.

    It starts no jobs after `draining` is set.
    """

    def __init__(
        self,
        config: Config,
        streams: Streams,
        supervisor: SupervisorClient,
        identities: Identities,
        draining: asyncio.Event,
    ) -> None:
        self._config = config
        self._streams = streams
        self.supervisor = supervisor
        self._identities = identities
        self._draining = draining
        self.on_created: Callable[[Job, TraceContext | None], None] = lambda _job, _trace: None
        """Called with each created job and the span of its request."""
        self._messages = JobMessages(_CACHE_BYTES)
        self._watches = Watches(supervisor, self._messages)

    async def CreateJob(
        self, request: job_service_pb2.CreateJobRequest, context: Context
    ) -> job_service_pb2.CreateJobResponse:
        """Start a job."""
        owner = self._identities.principal(context).subject
        spec = validation.job_spec(request, self._config, owner)
        trace = call_trace.of_call(context)
        job = await self.create(messages.StartJob(spec, trace), trace)
        log_job_id(job)
        return job_service_pb2.CreateJobResponse(job=job_to_proto(job))

    async def create(self, request: messages.StartJob | RunJob, trace: TraceContext | None) -> Job:
        """Start a job and return it.

        Raises:
            JobWorkerError: the server shuts down, or the supervisor refused the job.
        """
        if self._draining.is_set():
            raise ShuttingDown
        job = await self.supervisor.start_job(request)
        self.on_created(job, trace)
        return job

    async def GetJob(  # type: ignore[override]  # the stubs declare messages only
        self,
        request: job_service_pb2.GetJobRequest,
        context: Context,  # noqa: ARG002 - gRPC's signature
    ) -> bytes:
        """Return a job as a serialized message."""
        log_job_id(request)
        job_id = validation.job_id(request.id)
        message = self._messages.cached(job_id) if self.supervisor.keeps_final(job_id) else b""
        if not message:
            message = self._messages.serialize(await self.supervisor.get_job(job_id))
        return job_messages.get_job_response(message)

    async def ListJobs(  # type: ignore[override]  # as above
        self,
        request: job_service_pb2.ListJobsRequest,
        context: Context,  # noqa: ARG002 - gRPC's signature
    ) -> bytes:
        """Return a page of jobs as a serialized message."""
        page = await self.supervisor.list_jobs(validation.list_jobs(request))
        jobs = await self._fill_page(page.jobs)
        before = page.jobs[len(jobs) - 1].id if len(jobs) < len(page.jobs) else page.next_before
        token = page_token.make(before, request) if before else ""
        return job_messages.list_jobs_response(jobs, token)

    async def _fill_page(self, jobs: tuple[Job, ...]) -> list[bytes]:
        """Return the jobs that fit into a page, at least the first one.

        Other calls can run in between.
        """
        fitting: list[bytes] = []
        size = 0
        for count, job in enumerate(jobs, 1):
            message = self._messages.serialize(job)
            if count % _JOBS_PER_TURN == 0:
                await asyncio.sleep(0)
            size += len(message)
            if fitting and size > MAX_PAGE_BYTES:
                break
            fitting.append(message)
        return fitting

    async def WaitJob(  # type: ignore[override]  # as above
        self,
        request: job_service_pb2.WaitJobRequest,
        context: Context,  # noqa: ARG002 - gRPC's signature
    ) -> bytes:
        """Wait for the end of a job and return the job as a serialized message."""
        log_job_id(request)
        job = await self.supervisor.wait_job(*validation.wait_job(request))
        return job_messages.wait_job_response(self._messages.serialize(job), done=job.status.final)

    async def StopJob(
        self, request: job_service_pb2.StopJobRequest, context: Context
    ) -> job_service_pb2.StopJobResponse:
        """Stop a job."""
        log_job_id(request)
        stop = validation.stop_job(request, self._identities.principal(context).subject)
        job = await self.supervisor.stop_job(stop)
        return job_service_pb2.StopJobResponse(job=job_to_proto(job))

    async def UpdateJob(
        self, request: job_service_pb2.UpdateJobRequest, context: Context
    ) -> job_service_pb2.UpdateJobResponse:
        """Change the limits of a running job."""
        log_job_id(request)
        subject = self._identities.principal(context).subject
        update = validation.update_job(request, self._config.defaults, subject)
        job = await self.supervisor.update_job(update)
        return job_service_pb2.UpdateJobResponse(job=job_to_proto(job))

    async def DeleteJob(
        self, request: job_service_pb2.DeleteJobRequest, context: Context
    ) -> job_service_pb2.DeleteJobResponse:
        """Delete the record and the log of a job that has ended."""
        log_job_id(request)
        subject = self._identities.principal(context).subject
        await self.supervisor.delete_job(messages.DeleteJob(validation.job_id(request.id), subject))
        return job_service_pb2.DeleteJobResponse()

    @contextlib.asynccontextmanager
    async def WatchJobs(  # type: ignore[override]  # a `headers.Accepting`
        self,
        request: job_watch_pb2.WatchJobsRequest,
        context: Context,
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Stream the changes of jobs as serialized messages."""
        async with self._watches.open(validation.watch_jobs(request)) as watch:
            yield lambda: watch.write(context)

    @contextlib.asynccontextmanager
    async def AttachJob(  # type: ignore[override]  # a `headers.Accepting`
        self,
        requests: object,  # noqa: ARG002 - the call reads from the context
        context: Context,
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Stream the output of a job, and pass input and signals to it."""
        start = await read_start(context)
        log_job_id(start)
        request = attach_validation.attach(start)
        subject = self._identities.principal(context).subject
        async with self._streams.open(request.stream) as stream:
            call = AttachCall(request, stream, self.supervisor, subject)
            yield lambda: call.run(context)

    @contextlib.asynccontextmanager
    async def GetJobsStream(  # type: ignore[override]  # a `headers.Accepting`
        self, request: job_service_pb2.GetJobsStreamRequest, context: Context
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Stream the output of a job as serialized messages."""
        log_job_id(request)
        async with self._streams.open(validation.stream(request)) as stream:
            yield lambda: stream.write(context)
