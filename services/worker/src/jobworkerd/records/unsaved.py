"""Filters for records that are not committed, which SQL cannot find."""

from jobworkerd.model import Job
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.records.encoding import command_text


def matches(request: ListJobs, job: Job) -> bool:
    """Return whether a job matches the filters of a request, like the queries in `paging`."""
    spec = job.spec
    return (
        (not request.before or job.id < request.before)
        and job.id.startswith(request.id_prefix)
        and (not request.statuses or job.status in request.statuses)
        and (not request.owner or spec.owner == request.owner)
        and request.labels.items() <= spec.labels.items()
        and (request.created_after_ns is None or job.create_time_ns >= request.created_after_ns)
        and (request.created_before_ns is None or job.create_time_ns < request.created_before_ns)
        and request.command_contains in command_text(spec)
    )
