"""Bounds what one client can have in the cluster. The counts are those that this gateway sees."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobworker.v1 import job_pb2
from jobworker_gateway.job_table import JobTable
from jobworkerd.create_rate import CreateRate
from jobworkerd.errors import QuotaExceeded
from jobworkerd.quotas import AdminQuota

_STARTED = (job_pb2.JOB_STATUS_INITIALIZING, job_pb2.JOB_STATUS_RUNNING)


class Quotas:
    """The bounds of `quota.admin` and `max_create_rate`.

    The cluster starts a queued job without asking. So the jobs in the queue count as running jobs, too.
    """

    def __init__(
        self, quota: AdminQuota, max_create_rate: float, jobs: JobTable, clock: Callable[[], float]
    ) -> None:
        self._quota = quota
        self._jobs = jobs
        self._rate = CreateRate(quota.create_rate, max_create_rate, clock)
        self._submitted: defaultdict[str, set[str]] = defaultdict(set)
        """The jobs that the cluster stores now, by owner."""

    def count_call(self, owner: str) -> None:
        """Count a CreateJob call.

        Raises:
            QuotaExceeded: the owner calls too often.
            ServerBusy: all clients together call too often.
        """
        self._rate.take(owner)

    def check_room(self, owner: str) -> None:
        """Check whether the owner can have another job.

        Raises:
            QuotaExceeded: the owner has too many jobs.
        """
        queued = self._jobs.count(owner, job_pb2.JOB_STATUS_QUEUED) + self._not_in_table(owner)
        running = queued + sum(self._jobs.count(owner, status) for status in _STARTED)
        quota = self._quota
        if 0 < quota.queued_jobs <= queued:
            why = f"{queued} jobs are in the queue"
            raise QuotaExceeded(
                "quota.admin.queued_jobs", quota.queued_jobs, why, "retry when jobs have started"
            )
        if 0 < quota.running_jobs <= running:
            why = f"{running} jobs are running or in the queue"
            raise QuotaExceeded(
                "quota.admin.running_jobs", quota.running_jobs, why, "retry when jobs have ended"
            )

    @contextmanager
    def submitting(self, job: job_pb2.Job) -> Iterator[None]:
        """Count a job until the table has it, so that concurrent calls cannot exceed a quota together."""
        submitted = self._submitted[job.owner]
        submitted.add(job.id)
        try:
            yield
        finally:
            submitted.discard(job.id)
            if not submitted:
                del self._submitted[job.owner]

    def _not_in_table(self, owner: str) -> int:
        return sum(self._jobs.get(job_id) is None for job_id in self._submitted.get(owner, ()))
