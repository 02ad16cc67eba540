"""JobService: each method checks its request, asks the supervisor and converts the answer."""

from pathlib import Path

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from jobworkerd.api import convert, validation
from jobworkerd.api.identity import Identities
from jobworkerd.api.rpc import Context
from jobworkerd.api.streams import stream_log
from jobworkerd.config import Config
from jobworkerd.errors import ShuttingDown
from jobworkerd.protocol.client import SupervisorClient


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """The service, for callers that the interceptors have let through."""

    def __init__(self, supervisor: SupervisorClient, identities: Identities, config: Config) -> None:
        self._supervisor = supervisor
        self._identities = identities
        self._config = config
        self._draining = False

    def drain(self) -> None:
        """Refuses new jobs from now on."""
        self._draining = True

    async def CreateJob(  # noqa: N802 - the RPC's name
        self, request: job_service_pb2.CreateJobRequest, context: Context
    ) -> job_service_pb2.CreateJobResponse:
        """Starts a job."""
        if self._draining:
            raise ShuttingDown
        spec = validation.checked_job(request, self._config.defaults, self._subject(context))
        job = await self._supervisor.start_job(spec)
        return job_service_pb2.CreateJobResponse(job=convert.job_to_proto(job))

    async def GetJob(  # noqa: N802 - the RPC's name
        self,
        request: job_service_pb2.GetJobRequest,
        context: Context,  # noqa: ARG002 - grpc's signature
    ) -> job_service_pb2.GetJobResponse:
        """Returns a job."""
        job = await self._supervisor.get_job(validation.checked_id(request.id))
        return job_service_pb2.GetJobResponse(job=convert.job_to_proto(job))

    async def ListJobs(  # noqa: N802 - the RPC's name
        self,
        request: job_service_pb2.ListJobsRequest,
        context: Context,  # noqa: ARG002 - grpc's signature
    ) -> job_service_pb2.ListJobsResponse:
        """Returns a page of jobs."""
        page = await self._supervisor.list_jobs(validation.checked_list(request))
        token = validation.page_token(page.jobs[-1].id) if page.more else ""
        jobs = [convert.job_to_proto(job) for job in page.jobs]
        return job_service_pb2.ListJobsResponse(jobs=jobs, next_page_token=token)

    async def StopJob(  # noqa: N802 - the RPC's name
        self, request: job_service_pb2.StopJobRequest, context: Context
    ) -> job_service_pb2.StopJobResponse:
        """Ends a job."""
        stop = validation.checked_stop(request, self._subject(context))
        job = await self._supervisor.stop_job(stop)
        return job_service_pb2.StopJobResponse(job=convert.job_to_proto(job))

    async def GetJobsStream(  # type: ignore[override]  # noqa: N802 - writes instead of yielding
        self, request: job_service_pb2.GetJobsStreamRequest, context: Context
    ) -> None:
        """Streams a job's output."""
        validation.check_stream(request)
        await stream_log(
            request,
            context,
            supervisor=self._supervisor,
            jobs_dir=Path(self._config.state_dir) / "jobs",
            config=self._config.log,
        )

    def _subject(self, context: Context) -> str:
        return self._identities.principal(context).subject
