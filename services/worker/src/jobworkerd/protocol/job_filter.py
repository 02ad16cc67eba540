"""The filters of lists and watches, for jobs in memory."""

from jobworkerd.model import Job, JobSpec
from jobworkerd.protocol.messages import ListJobs

_COMMAND_LENGTH = 1_024
"""Characters of a command that `ListJobs.command_contains` searches."""


def matches(request: ListJobs, job: Job) -> bool:
    """Return whether a job matches the filters of a request, like the queries in `records.paging`."""
    return (not request.statuses or job.status in request.statuses) and matches_with_any_status(request, job)


def matches_with_any_status(request: ListJobs, job: Job) -> bool:
    """Return whether a job matches all filters except the status, which is the only one that changes."""
    spec = job.spec
    return (
        (not request.before or job.id < request.before)
        and job.id.startswith(request.id_prefix)
        and (not request.owner or spec.owner == request.owner)
        and request.labels.items() <= spec.labels.items()
        and (request.created_after_ns is None or job.create_time_ns >= request.created_after_ns)
        and (request.created_before_ns is None or job.create_time_ns < request.created_before_ns)
        and request.command_contains in command_text(spec)
    )


def command_text(spec: JobSpec) -> str:
    """Return the begin of the command and its arguments, in which `ListJobs.command_contains` searches."""
    return " ".join((spec.command, *spec.args))[:_COMMAND_LENGTH]
