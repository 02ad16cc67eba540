"""The filters of lists and watches, for messages of jobs."""

from jobworker.v1 import job_pb2
from jobworker_gateway.archive.statements import command_text
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.rpc_server.convert import STATUSES


def matches(request: ListJobs, job: job_pb2.Job) -> bool:
    """Return whether a job matches the filters of a request, like the queries of the archive."""
    has_status = not request.statuses or STATUSES[job.status] in request.statuses
    return has_status and matches_with_any_status(request, job)


def matches_with_any_status(request: ListJobs, job: job_pb2.Job) -> bool:
    """Return whether a job matches all filters except the status, which is the only one that changes."""
    created = job.create_time.ToNanoseconds()
    return (
        (not request.before or job.id < request.before)
        and job.id.startswith(request.id_prefix)
        and (not request.owner or job.owner == request.owner)
        and all(job.labels.get(name) == value for name, value in request.labels.items())
        and (request.created_after_ns is None or created >= request.created_after_ns)
        and (request.created_before_ns is None or created < request.created_before_ns)
        and request.command_contains in command_text(job)
    )
