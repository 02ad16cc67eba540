"""The limits of one live job, in the kernel and in its record."""

import time
from collections.abc import Collection, Sequence
from pathlib import Path

from msgspec.structs import replace

from jobworkerd.errors import LimitUnavailable
from jobworkerd.model import AppliedLimit, LimitsUpdate
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.job_events import ids_of
from jobworkerd.supervisor.job_resources import JobResources
from jobworkerd.supervisor.job_state import HeldState
from jobworkerd.supervisor.limits import changed, restored


class JobLimits:
    """Changes the limits of a job that runs."""

    def __init__(
        self, state: HeldState, resources: JobResources, context: JobContext, io_paths: Sequence[Path]
    ) -> None:
        self._state = state
        self._resources = resources
        self._context = context
        self._io_paths = io_paths

    def note_lost_cgroup(self) -> None:
        """Record that the limits ended with a cgroup that another program has removed."""
        containment, job = self._resources.containment, self._state.job
        if containment.no_cgroup != self._state.value.no_cgroup:
            limits = containment.read_back(job.applied_limits)
            self._state.change(job=replace(job, applied_limits=limits), no_cgroup=containment.no_cgroup)

    def change(self, update: LimitsUpdate) -> tuple[AppliedLimit, ...]:
        """Change limits and return all limits with their current values.

        Raises:
            LimitUnavailable: the policy is strict and a limit cannot be enforced. No limit has changed.
            OSError: the host is exhausted. No limit has changed.
        """
        containment = self._resources.containment
        try:
            updated = changed(self._state.job, update, containment, self._io_paths)
            current = containment.read_back(updated.applied_limits)
        except (LimitUnavailable, OSError):
            self._restore(update.changes)
            raise
        self._state.change(job=updated)
        return current

    def restore(self) -> None:
        """Set all limits again after another program disabled their controllers.

        Raises:
            OSError: the host is exhausted.
        """
        self._restore(self._state.job.spec.limits.limiting)

    def _restore(self, names: Collection[str]) -> None:
        job = restored(self._state.job, names, self._resources.containment, self._io_paths)
        if job != self._state.job:
            self._state.change(job=job)

    def memory_high_count(self) -> int:
        """Return how often `memory.high` throttled the job."""
        return self._resources.containment.memory_high_count()

    def lift_memory_high(self) -> None:
        """Lift `memory.high`, and report it in the record and in the server's log."""
        try:
            self._resources.containment.lift_memory_high()
        except OSError as error:
            self._context.on_fault("memory.high", error)
            return
        job = replace(self._state.job, memory_high_lift_time_ns=time.time_ns())
        self._state.change(job=job)
        self._context.warn("memory.high lifted", **ids_of(job), max_memory=job.spec.limits.max_memory)
