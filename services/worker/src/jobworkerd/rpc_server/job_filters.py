"""The filters that ListJobsRequest and WatchJobsRequest have in common."""

from typing import Literal

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_service_pb2, job_watch_pb2
from jobworkerd.limit_bounds import MAX_INT64
from jobworkerd.protocol import messages
from jobworkerd.rpc_server import bounds, convert
from jobworkerd.rpc_server import field_checks as check

Request = job_service_pb2.ListJobsRequest | job_watch_pb2.WatchJobsRequest


def problems(request: Request) -> dict[str, str]:
    """Return the problem of each filter; empty if it is accepted."""
    return {
        "statuses": check.statuses(request.statuses, convert.STATUSES),
        "id_prefix": check.id_prefix(request.id_prefix),
        "owner": bounds.OWNER.size_problem(len(request.owner.encode())),
        "created_after": check.timestamp(request.created_after),
        "created_before": check.timestamp(request.created_before),
        "command_contains": bounds.COMMAND_CONTAINS.size_problem(len(request.command_contains)),
    }


def first_page(request: Request, page_size: int) -> messages.ListJobs:
    """Return the message for the first page of the jobs that match."""
    return messages.ListJobs(
        max_bytes=bounds.MAX_PAGE_BYTES,
        page_size=page_size,
        statuses=frozenset(convert.STATUSES[status] for status in request.statuses),
        labels=dict(request.labels),
        id_prefix=request.id_prefix,
        owner=request.owner,
        created_after_ns=_creation_time(request, "created_after"),
        created_before_ns=_creation_time(request, "created_before"),
        command_contains=request.command_contains,
    )


def fingerprint(request: Request) -> bytes:
    """Return bytes that are equal for equal filters."""
    filters = [
        sorted(set(request.statuses)),
        sorted(request.labels.items()),
        request.id_prefix,
        request.owner,
        _time(request, "created_after"),
        _time(request, "created_before"),
        request.command_contains,
    ]
    return repr(filters).encode()


def _time(request: Request, field: Literal["created_after", "created_before"]) -> tuple[int, int] | None:
    time: Timestamp = getattr(request, field)
    return (time.seconds, time.nanos) if request.HasField(field) else None


def _creation_time(request: Request, field: Literal["created_after", "created_before"]) -> int | None:
    """Return the time in a field in nanoseconds; None if it is not set.

    Years before 1970 and after 2262, which no job has, become the nearest time that fits into 63 bits.
    """
    time: Timestamp = getattr(request, field)
    return min(max(time.ToNanoseconds(), 0), MAX_INT64) if request.HasField(field) else None
