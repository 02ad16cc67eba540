"""Checks requests of NodeService and converts them to messages for the supervisor."""

import time

from google.protobuf.duration_pb2 import Duration
from msgspec.structs import replace

from jobworker.v1 import node_service_pb2
from jobworkerd.config import Config
from jobworkerd.job_id import is_job_id, time_of
from jobworkerd.limit_bounds import Bound
from jobworkerd.protocol.node_messages import EvictJob, RenewLease, RunJob
from jobworkerd.rpc_server import field_checks as check
from jobworkerd.rpc_server import validation
from jobworkerd.rpc_server.bounds import SUBJECT
from jobworkerd.trace_context import TraceContext

_NODE = Bound(1, 253, "characters")
_ATTEMPT = Bound(1, 2**31 - 1)
_MESSAGE = Bound(1, 1_024, "characters")
_LEASE = Bound(0, 3_600, "s")

_MAX_AHEAD_SECONDS = 3_600
"""Ids that are created here follow the newest id, so that a wrong clock of a gateway would move them, too."""


def run_job(request: node_service_pb2.RunJobRequest, config: Config, trace: TraceContext | None) -> RunJob:
    """Return the message for a job of the cluster; the defaults of the server replace unset fields.

    Raises:
        InvalidRequest: a value is not accepted.
    """
    job = request.job
    validation.raise_violations(
        id=_id_problem(request.id),
        owner=_size_problem(SUBJECT, len(request.owner.encode())),
        node=_size_problem(_NODE, len(request.node)),
        attempt=_ATTEMPT.value_problem(request.attempt),
        fenced="unset, but job.retry_on_lost needs it; set it" * (job.retry_on_lost and not request.fenced),
        request_id="empty; use the id of the attempt" if not job.request_id else "",
    )
    # The gateway has checked the queue.
    spec = validation.job_spec(job, config, request.owner, {job.queue})
    cluster = {"node": request.node, "attempt": request.attempt, "fenced": request.fenced}
    return RunJob(request.id, replace(spec, **cluster), trace)


def _id_problem(job_id: str) -> str:
    if not is_job_id(job_id):
        return f"{job_id[:64]!r} is not a job id; use a UUIDv7 in lower case"
    ahead = time_of(job_id) / 1e9 - time.time()
    if ahead > _MAX_AHEAD_SECONDS:
        return f"its time is {ahead:.0f} s ahead of the clock of this host; set the clocks"
    return ""


def _size_problem(bound: Bound, size: int) -> str:
    return bound.size_problem(size) if size else f"empty; use {bound.accepted}"


def evict_job(request: node_service_pb2.EvictJobRequest, subject: str) -> EvictJob:
    """Return the message for an eviction by the client with a subject.

    Raises:
        InvalidRequest: a value is not accepted.
        JobNotFound: no job can have this id.
    """
    validation.raise_violations(message=_size_problem(_MESSAGE, len(request.message)))
    return EvictJob(validation.job_id(request.id), request.message, subject)


def renew_lease(request: node_service_pb2.RenewLeaseRequest) -> RenewLease:
    """Return the message for a renewal.

    Raises:
        InvalidRequest: a value is not accepted.
    """
    validation.raise_violations(duration=_lease_problem(request.duration))
    not_after = _seconds(request.not_after) if request.HasField("not_after") else None
    return RenewLease(_seconds(request.duration), not_after)


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _lease_problem(duration: Duration) -> str:
    if not duration.seconds and not duration.nanos:
        return "0 s is too short; use more than 0 s"
    return check.duration(duration, _LEASE)
