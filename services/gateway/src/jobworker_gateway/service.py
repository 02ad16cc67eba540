"""The methods of JobService at a gateway."""

# ruff: noqa: N802 - the methods have the names that the API gives them

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from jobworker.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc, job_watch_pb2
from jobworker_cluster.records import is_final
from jobworker_gateway.attach_relay import AttachRelay
from jobworker_gateway.change_feed import ChangeFeed
from jobworker_gateway.creation import Creation
from jobworker_gateway.job_control import JobControl
from jobworker_gateway.jobs import Jobs
from jobworker_gateway.listing import read_page
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.quotas import Quotas
from jobworker_gateway.relay import Relays
from jobworker_gateway.watches import Watch
from jobworkerd.config import Config
from jobworkerd.errors import JobNotFound, QuotaExceeded, ShuttingDown
from jobworkerd.rpc_server import attach_validation, call_trace, page_token, validation
from jobworkerd.rpc_server.attach_requests import read_start
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.rpc import Context, log_job_id
from jobworkerd.rpc_server.streaming.rate_limiter import RateLimiter

Write = Callable[[], Awaitable[None]]


class GatewayJobService(job_service_pb2_grpc.JobServiceServicer):
    """Serves `jobworker.v1.JobService` for a cluster. It raises the errors of jobworkerd.errors.

    It accepts no jobs after `draining` is set. It is created in the running event loop.
    """

    def __init__(
        self,
        config: Config,
        creation: Creation,
        jobs: Jobs,
        nodes: NodeConnections,
        identities: Identities,
    ) -> None:
        clock = asyncio.get_running_loop().time
        self._config = config
        self._jobs = jobs
        self._nodes = nodes
        self._identities = identities
        self.draining = asyncio.Event()
        self._creation = creation
        self._quotas = Quotas(config.quota.admin, config.max_create_rate, jobs.engine.jobs, clock)
        self._feed = ChangeFeed()
        self._feed.follow(jobs.engine.jobs)
        self._control = JobControl(jobs, nodes, self._feed)
        self._relays = Relays(jobs, nodes, config.log, clock)
        self._turns = RateLimiter()

    async def CreateJob(
        self, request: job_service_pb2.CreateJobRequest, context: Context
    ) -> job_service_pb2.CreateJobResponse:
        """Store a job in the cluster, which starts it."""
        if self.draining.is_set():
            raise ShuttingDown
        owner = self._subject(context)
        accepted = self._creation.accept(request, owner, call_trace.of_call(context))
        self._quotas.count_call(owner)
        await self._check_room(owner, request.request_id)
        with self._quotas.submitting(accepted.job):
            job = await self._jobs.engine.submit(accepted)
        log_job_id(job)
        return job_service_pb2.CreateJobResponse(job=job)

    async def _check_room(self, owner: str, request_id: str) -> None:
        """Check whether an owner can have another job. A retry does not make another one.

        Raises:
            QuotaExceeded: the owner has too many jobs.
        """
        try:
            self._quotas.check_room(owner)
        except QuotaExceeded:
            if not request_id or not await self._jobs.engine.knows(owner, request_id):
                raise

    async def GetJob(
        self, request: job_service_pb2.GetJobRequest, context: Context
    ) -> job_service_pb2.GetJobResponse:
        """Return a job."""
        log_job_id(request)
        live = await self._jobs.get(validation.job_id(request.id))
        job = await self._control.current(live, self._subject(context))
        return job_service_pb2.GetJobResponse(job=job)

    async def ListJobs(
        self, request: job_service_pb2.ListJobsRequest, context: Context
    ) -> job_service_pb2.ListJobsResponse:
        """Return a page of jobs."""
        page = await read_page(self._jobs, validation.list_jobs(request))
        jobs: Sequence[job_pb2.Job] = page.jobs
        if request.live_usage:
            subject = self._subject(context)
            jobs = await asyncio.gather(*(self._with_usage(job, subject) for job in jobs))
        token = page_token.make(page.next_before, request) if page.next_before else ""
        return job_service_pb2.ListJobsResponse(jobs=jobs, next_page_token=token)

    async def _with_usage(self, job: job_pb2.Job, subject: str) -> job_pb2.Job:
        live = self._jobs.engine.jobs.get(job.id)
        if live is None or job.status != job_pb2.JOB_STATUS_RUNNING:
            return job
        # A job that ends and is deleted now must not keep the others from the client.
        with contextlib.suppress(JobNotFound):
            return await self._control.current(live, subject)
        return job

    async def WaitJob(
        self, request: job_service_pb2.WaitJobRequest, context: Context
    ) -> job_service_pb2.WaitJobResponse:
        """Wait for the end of a job and return the job."""
        log_job_id(request)
        job_id, seconds = validation.wait_job(request)
        live = await self._jobs.get(job_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not live.final:
                    live = await self._jobs.changed(live)
        job = await self._control.current(live, self._subject(context))
        return job_service_pb2.WaitJobResponse(job=job, done=is_final(job))

    async def StopJob(
        self, request: job_service_pb2.StopJobRequest, context: Context
    ) -> job_service_pb2.StopJobResponse:
        """Stop a job."""
        log_job_id(request)
        subject = self._subject(context)
        validation.stop_job(request, subject)
        job = await self._control.stop(request, subject, context.time_remaining())
        return job_service_pb2.StopJobResponse(job=job)

    async def UpdateJob(
        self, request: job_service_pb2.UpdateJobRequest, context: Context
    ) -> job_service_pb2.UpdateJobResponse:
        """Change the limits of a running job."""
        log_job_id(request)
        subject = self._subject(context)
        update = validation.update_job(request, self._config.defaults, subject)
        for name, value in update.limits.changes.items():
            setattr(request, name, value)
        return job_service_pb2.UpdateJobResponse(job=await self._control.update(request, subject))

    async def DeleteJob(
        self, request: job_service_pb2.DeleteJobRequest, context: Context
    ) -> job_service_pb2.DeleteJobResponse:
        """Delete the record and the log of a job that has ended."""
        log_job_id(request)
        await self._control.delete(validation.job_id(request.id), self._subject(context))
        return job_service_pb2.DeleteJobResponse()

    @contextlib.asynccontextmanager
    async def WatchJobs(  # type: ignore[override]  # a `headers.Accepting`
        self, request: job_watch_pb2.WatchJobsRequest, context: Context
    ) -> AsyncIterator[Write]:
        """Stream the changes of jobs as serialized messages."""
        watch = Watch(validation.watch_jobs(request), self._jobs, self._feed, self._turns)
        yield lambda: watch.write(context)

    @contextlib.asynccontextmanager
    async def AttachJob(  # type: ignore[override]  # a `headers.Accepting`
        self,
        requests: object,  # noqa: ARG002 - the call reads from the context
        context: Context,
    ) -> AsyncIterator[Write]:
        """Stream the output of a job, and pass input and signals to it."""
        start = await read_start(context)
        log_job_id(start)
        attach_validation.attach(start)
        relay = AttachRelay(start, self._subject(context), self._jobs, self._nodes)
        async with relay.accepted():
            yield lambda: relay.run(context, self._config.log)

    @contextlib.asynccontextmanager
    async def GetJobsStream(  # type: ignore[override]  # a `headers.Accepting`
        self, request: job_service_pb2.GetJobsStreamRequest, context: Context
    ) -> AsyncIterator[Write]:
        """Stream the output of a job as serialized messages."""
        log_job_id(request)
        validation.stream(request)
        async with self._relays.open(request, self._subject(context)) as relay:
            yield lambda: relay.write(context)

    def _subject(self, context: Context) -> str:
        return self._identities.principal(context).subject
