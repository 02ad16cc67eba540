"""A host for the agent of a cluster, whose jobs are not processes: they only take time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from jobworker.v1 import job_pb2, node_service_pb2
from jobworker_agent.host_errors import JobUnknown
from jobworker_cluster.trace_headers import TraceHeaders

CPU = 1_600
MEMORY = 65_536
MAX_JOBS = 100


@dataclass
class _Run:
    request_id: str
    job: job_pb2.Job
    ended: asyncio.Event


class VirtualHost:
    """A host whose jobs end successfully after a time. It implements jobworker_agent.host.Host."""

    def __init__(self, job_seconds: float) -> None:
        self._job_seconds = job_seconds
        self._runs: dict[str, _Run] = {}

    async def describe(self) -> node_service_pb2.GetHostResponse:
        """Return the resources of a host with 16 cores."""
        return node_service_pb2.GetHostResponse(
            max_cpu=CPU, max_memory=MEMORY, max_jobs=MAX_JOBS, version="0.1.0", kernel="6.1"
        )

    async def run(
        self,
        request: node_service_pb2.RunJobRequest,
        trace: TraceHeaders,  # noqa: ARG002 - the signature of Host
    ) -> job_pb2.Job:
        """Start a job."""
        found = self._runs.get(request.id)
        if found is None:
            job = job_pb2.Job(
                id=request.id,
                owner=request.owner,
                node=request.node,
                attempt=request.attempt,
                command=request.job.command,
                args=request.job.args,
                max_cpu=request.job.max_cpu,
                max_memory=request.job.max_memory,
                status=job_pb2.JOB_STATUS_RUNNING,
            )
            job.start_time.GetCurrentTime()
            found = self._runs[request.id] = _Run(request.job.request_id, job, asyncio.Event())
            asyncio.get_running_loop().call_later(self._job_seconds, self._end, found)
        return _copy(found.job)

    def _end(self, run: _Run) -> None:
        run.job.status = job_pb2.JOB_STATUS_COMPLETED
        run.job.exit_code = 0
        run.job.termination.reason = job_pb2.TERMINATION_REASON_EXITED
        run.job.termination.message = "exited with code 0"
        run.job.end_time.GetCurrentTime()
        run.ended.set()

    async def find(self, job_id: str, owner: str) -> job_pb2.Job | None:
        """Return a job."""
        del owner
        found = self._runs.get(job_id)
        return _copy(found.job) if found else None

    async def wait(self, job_id: str, owner: str) -> job_pb2.Job:
        """Return a job when it has ended."""
        del owner
        found = self._known(job_id)
        await found.ended.wait()
        return _copy(found.job)

    async def stop(
        self,
        job_id: str,
        subject: str,
        grace_period: float | None,  # noqa: ARG002 - no job is stopped
    ) -> job_pb2.Job:
        """Return a job when it has ended: no case of the benchmark stops jobs."""
        return await self.wait(job_id, subject)

    async def evict(self, job_id: str, message: str) -> job_pb2.Job:
        """Return a job when it has ended: no case of the benchmark evicts jobs."""
        return await self.wait(job_id, message)

    async def delete(self, job_id: str, owner: str) -> None:
        """Forget a job."""
        del owner
        self._runs.pop(job_id, None)

    async def runs(self) -> Sequence[node_service_pb2.Run]:
        """Return the jobs that have not ended."""
        return [
            node_service_pb2.Run(id=job_id, request_id=run.request_id, owner=run.job.owner)
            for job_id, run in self._runs.items()
            if not run.ended.is_set()
        ]

    async def renew_lease(self, seconds: float, not_after: float) -> None:
        """Do nothing: no job ends with the lease."""

    def _known(self, job_id: str) -> _Run:
        if (found := self._runs.get(job_id)) is None:
            raise JobUnknown("JOB_NOT_FOUND", f"no job has the id {job_id}")
        return found


def _copy(job: job_pb2.Job) -> job_pb2.Job:
    copy = job_pb2.Job()
    copy.CopyFrom(job)
    return copy
