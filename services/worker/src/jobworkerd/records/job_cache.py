"""A small LRU cache of final jobs, which never change."""

from jobworkerd.job_memory import memory_of
from jobworkerd.model import Job

_MAX_BYTES = 1 << 20


class JobCache:
    """Final jobs in memory, in a bounded number of bytes."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._left = _MAX_BYTES

    def get(self, job_id: str) -> Job | None:
        """Return a job and keep it longer; None if it is not in the cache."""
        if job := self._jobs.pop(job_id, None):
            self._jobs[job_id] = job
        return job

    def add(self, job: Job) -> None:
        """Add a job, and drop those that were not used for the longest time."""
        self.remove(job.id)
        self._jobs[job.id] = job
        self._left -= memory_of(job)
        while self._left < 0:
            self.remove(next(iter(self._jobs)))

    def remove(self, job_id: str) -> None:
        """Remove a job, if it is in the cache."""
        if job := self._jobs.pop(job_id, None):
            self._left += memory_of(job)
