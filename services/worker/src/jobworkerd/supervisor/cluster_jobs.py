"""The jobs that a cluster runs on this host. `jobs` has them, too, like all other jobs."""

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.errors import JobNotFound, RequestIdReused, TooManyJobs
from jobworkerd.job_id import is_job_id
from jobworkerd.model import Job
from jobworkerd.protocol.messages import Done, OneJob, ReplyBody
from jobworkerd.protocol.node_messages import (
    EvictJob,
    GetHost,
    Host,
    ListRuns,
    NodeRequest,
    RenewLease,
    Run,
    RunJob,
    Runs,
)
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.jobs import Jobs
from jobworkerd.supervisor.lease import Lease

_LEASE_ENDED = "the host lost its lease in the cluster"
_LIMITED = ("cpu", "memory")
"""The controllers without which the cluster cannot share the host among jobs."""


class ClusterJobs:
    """Handles the requests of the cluster, and ends its fenced jobs with the lease."""

    def __init__(self, jobs: Jobs, context: JobContext, log: EventLog) -> None:
        self._jobs = jobs
        self._hierarchy = context.hierarchy
        self._log = log
        self.lease = Lease(context.loop, context.records, self._lease_ended)

    async def handle(self, request: NodeRequest) -> ReplyBody:
        """Return the reply to a request.

        Raises:
            JobWorkerError: the request is refused.
            OSError: the host is exhausted, or the records cannot be read.
        """
        match request:
            case RunJob():
                return OneJob(await self._run(request))
            case EvictJob(job_id, message, subject):
                return OneJob(await self._jobs.evict(job_id, message, subject))
            case ListRuns():
                return self._runs()
            case RenewLease(seconds, not_after):
                await self.lease.renew(seconds, not_after)
                return Done()
            case GetHost():
                return Host(_limits_problem(self._hierarchy))

    async def _run(self, request: RunJob) -> Job:
        spec = request.spec
        if not is_job_id(request.job_id):
            raise JobNotFound(request.job_id)
        if found := self._find(request.job_id):
            if (found.spec.owner, found.spec.request_id) != (spec.owner, spec.request_id):
                raise RequestIdReused(spec.request_id, found.id)
            return await self._jobs.started(found.id)
        if spec.fenced and not self.lease.holds:
            raise TooManyJobs("the host has no lease in the cluster", "retry when the agent has renewed it")
        return await self._jobs.creation.start_with_id(request.job_id, spec, request.trace)

    def _find(self, job_id: str) -> Job | None:
        try:
            return self._jobs.get(job_id)
        except JobNotFound:
            return None

    def _runs(self) -> Runs:
        jobs = [live.snapshot() for live in self._jobs.live]
        return Runs(tuple(Run(job.id, job.spec.request_id, job.spec.owner) for job in jobs if job.spec.node))

    def _lease_ended(self) -> None:
        if killed := self._jobs.kill_fenced(_LEASE_ENDED):
            self._log.warning("lease ended", killed=killed)


def _limits_problem(hierarchy: Hierarchy) -> str:
    return hierarchy.problem or next(filter(None, map(hierarchy.reason, _LIMITED)), "")
