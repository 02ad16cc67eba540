"""The events in the life of a job, for the server's log."""

from collections.abc import Collection, Iterable, Mapping

from jobworkerd.model import AppliedLimit, Job
from jobworkerd.signals import signal_name
from jobworkerd.supervisor.event_log import EventLog


class JobEvents:
    """Writes events of jobs to the server's log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def started(self, job: Job) -> None:
        """Report a started job, and the limits and parts of its isolation that are not in force."""
        self._log.info("job started", **ids_of(job), owner=job.spec.owner, pid=job.pid)
        self._warn_of_limits(job, job.applied_limits)
        missing = {part.part: part.reason for part in job.applied_isolation if not part.in_force}
        if missing:
            self._log.warning("isolation not in force", **ids_of(job), isolation=missing)

    def queued(self, job: Job) -> None:
        """Report a job that waits."""
        self._log.info(
            "job queued",
            **ids_of(job),
            owner=job.spec.owner,
            priority=job.spec.priority,
            queue_timeout=job.spec.queue_timeout,
        )

    def stop_requested(self, job: Job, by: str, grace_period: float) -> None:
        """Report a StopJob request."""
        self._log.info("job stop", **ids_of(job), by=by, grace_period=grace_period)

    def signaled(self, job: Job, by: str, number: int) -> None:
        """Report a signal that a client sent with AttachJob."""
        self._log.info("job signal", **ids_of(job), by=by, signal=signal_name(number))

    def updated(self, job: Job, by: str, changes: Mapping[str, int | str]) -> None:
        """Report changed limits, and the changed limits that are not in force."""
        self._log.info("job updated", **ids_of(job), by=by, limits=changes)
        self._warn_of_limits(job, _named(job.applied_limits, changes.keys()))

    def deleted(self, job: Job, by: str) -> None:
        """Report a DeleteJob request."""
        self._log.info("job deleted", **ids_of(job), owner=job.spec.owner, by=by)

    def lost(self, job: Job) -> None:
        """Report a job of an earlier server."""
        assert job.termination
        self._log.warning("job lost", **ids_of(job), message=job.termination.message, log_size=job.log_size)

    def ended(self, job: Job) -> None:
        """Report a final job."""
        assert job.termination
        self._log.info(
            "job ended",
            **ids_of(job),
            status=job.status.value,
            exit_code=job.exit_code,
            reason=job.termination.reason.value,
            message=job.termination.message,
            log_size=job.log_size,
        )

    def _warn_of_limits(self, job: Job, limits: Iterable[AppliedLimit]) -> None:
        not_in_force = {limit.limit: limit.reason for limit in limits if not limit.in_force}
        if not_in_force:
            self._log.warning("limits not in force", **ids_of(job), limits=not_in_force)


def _named(limits: Iterable[AppliedLimit], names: Collection[str]) -> Iterable[AppliedLimit]:
    return (limit for limit in limits if limit.limit in names)


def ids_of(job: Job) -> dict[str, str]:
    """Return the fields of a line about a job: its id, and the ids of its span if it has a trace."""
    if job.trace is None:
        return {"job_id": job.id}
    span = job.trace.context
    return {"job_id": job.id, "trace_id": span.trace_id, "span_id": span.span_id}
