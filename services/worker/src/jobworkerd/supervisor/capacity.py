"""Admission: which jobs fit beside the running jobs."""


class Capacity:
    """The bounds of the host, and the limits of the running jobs that count against them.

    The bounds are `max_jobs`, `capacity.cpu` and `capacity.memory`. 0 means that the host has no such bound.
    """

    def __init__(self, max_jobs: int, cpu: int, memory: int) -> None:
        """`cpu` is in percent of one core, `memory` in MiB."""
        self._max_jobs = max_jobs
        self._cpu = _Resource("capacity.cpu", "% of CPU", cpu)
        self._memory = _Resource("capacity.memory", "MiB of memory", memory)
        self._taken: dict[str, tuple[int, int]] = {}

    def take(self, job_id: str, max_cpu: int, max_memory: int) -> None:
        """Count the limits of a running job, or replace its limits, even if they do not fit."""
        self.release(job_id)
        self._taken[job_id] = (max_cpu, max_memory)
        self._cpu.taken += max_cpu
        self._memory.taken += max_memory

    def release(self, job_id: str) -> None:
        """Remove the limits of a job that has ended; do nothing if they are not counted."""
        max_cpu, max_memory = self._taken.pop(job_id, (0, 0))
        self._cpu.taken -= max_cpu
        self._memory.taken -= max_memory

    @property
    def has_slot(self) -> bool:
        """Whether fewer than `max_jobs` jobs run."""
        return len(self._taken) < self._max_jobs

    def shortage(self, max_cpu: int, max_memory: int) -> str:
        """Return why a job with these limits cannot start now; empty if it can."""
        if not self.has_slot:
            count = len(self._taken)
            return (
                f"{count} {'job is' if count == 1 else 'jobs are'} running, which is the maximum (max_jobs)"
            )
        return self._cpu.shortage(max_cpu) or self._memory.shortage(max_memory)


class _Resource:
    """One resource of the host. `total` 0 means unbounded."""

    def __init__(self, setting: str, unit: str, total: int) -> None:
        self._setting = setting
        self._unit = unit
        self._total = total
        self.taken = 0

    def shortage(self, wanted: int) -> str:
        if not self._total or self.taken + wanted <= self._total:
            return ""
        free = max(self._total - self.taken, 0)
        return f"{wanted} {self._unit} needed, {free} of {self._total} available ({self._setting})"
