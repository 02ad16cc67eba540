"""The methods of NodeService, with which a cluster runs its jobs on this host."""

# ruff: noqa: N802 - the methods have the names that the API gives them

from jobworker.v1 import node_service_pb2, node_service_pb2_grpc
from jobworkerd.api import node_requests
from jobworkerd.api.host import Host
from jobworkerd.api.service import JobService
from jobworkerd.config import Config
from jobworkerd.protocol import messages, node_messages
from jobworkerd.protocol.replies import T, expect
from jobworkerd.rpc_server import call_trace
from jobworkerd.rpc_server.convert import job_to_proto
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.rpc import Context, log_job_id


class NodeService(node_service_pb2_grpc.NodeServiceServicer):
    """Serves `jobworker.v1.NodeService`. It raises the errors of jobworkerd.errors.

    `jobs` starts each job.
    """

    def __init__(self, config: Config, host: Host, identities: Identities, jobs: JobService) -> None:
        self._config = config
        self._host = host
        self._identities = identities
        self._jobs = jobs

    async def _call(self, request: node_messages.NodeRequest, expected: type[T]) -> T:
        return expect(await self._jobs.supervisor.request(request)[1], expected)

    async def GetHost(
        self,
        request: node_service_pb2.GetHostRequest,  # noqa: ARG002 - gRPC's signature
        context: Context,  # noqa: ARG002 - gRPC's signature
    ) -> node_service_pb2.GetHostResponse:
        """Return the resources of the host."""
        state = await self._call(node_messages.GetHost(), node_messages.Host)
        host = self._host
        return node_service_pb2.GetHostResponse(
            max_cpu=host.max_cpu,
            max_memory=host.max_memory,
            max_jobs=host.max_jobs,
            version=host.version,
            kernel=host.kernel,
            limits_problem=state.limits_problem,
        )

    async def RunJob(
        self, request: node_service_pb2.RunJobRequest, context: Context
    ) -> node_service_pb2.RunJobResponse:
        """Start a job of the cluster, or return the one that the same attempt has started."""
        log_job_id(request)
        trace = call_trace.of_call(context)
        run = node_requests.run_job(request, self._config, trace)
        job = await self._jobs.create(run, trace)
        return node_service_pb2.RunJobResponse(job=job_to_proto(job))

    async def ListRuns(
        self,
        request: node_service_pb2.ListRunsRequest,  # noqa: ARG002 - gRPC's signature
        context: Context,  # noqa: ARG002 - gRPC's signature
    ) -> node_service_pb2.ListRunsResponse:
        """Return the jobs of the cluster that are not final."""
        found = await self._call(node_messages.ListRuns(), node_messages.Runs)
        runs = [
            node_service_pb2.Run(id=run.job_id, request_id=run.request_id, owner=run.owner)
            for run in found.runs
        ]
        return node_service_pb2.ListRunsResponse(runs=runs)

    async def EvictJob(
        self, request: node_service_pb2.EvictJobRequest, context: Context
    ) -> node_service_pb2.EvictJobResponse:
        """Stop a job of the cluster."""
        log_job_id(request)
        evict = node_requests.evict_job(request, self._identities.principal(context).subject)
        job = (await self._call(evict, messages.OneJob)).job
        return node_service_pb2.EvictJobResponse(job=job_to_proto(job))

    async def RenewLease(
        self,
        request: node_service_pb2.RenewLeaseRequest,
        context: Context,  # noqa: ARG002 - gRPC's signature
    ) -> node_service_pb2.RenewLeaseResponse:
        """Renew the lease of the host."""
        await self._call(node_requests.renew_lease(request), messages.Done)
        return node_service_pb2.RenewLeaseResponse()
