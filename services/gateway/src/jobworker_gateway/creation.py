"""Turns a request of a client into a job of the cluster."""

import hashlib
from collections.abc import Collection

from msgspec.structs import asdict

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_gateway.engine import AcceptedJob
from jobworkerd import job_id
from jobworkerd.config import Config
from jobworkerd.errors import MessageTooLarge
from jobworkerd.job_id import JobIds
from jobworkerd.model import Job, JobSpec, JobStatus
from jobworkerd.rpc_server import convert, validation
from jobworkerd.trace_context import TraceContext

Request = job_service_pb2.CreateJobRequest

MAX_BYTES = 128 * 1024
"""The record of a job is in its Pod twice, and the annotations of a Pod have at most 256 KiB."""


class Creation:
    """Validates requests, and fills in the defaults of the gateway."""

    def __init__(self, config: Config, queues: Collection[str]) -> None:
        """`queues` are the names of the cluster's queues, without the default one."""
        self._config = config
        self._queues = queues
        self._ids = JobIds()

    def accept(self, request: Request, owner: str, trace: TraceContext | None) -> AcceptedJob:
        """Return the job that a request describes, with the trace of the call.

        Raises:
            InvalidRequest: a value is not accepted.
            MessageTooLarge: the request is too large for the cluster.
        """
        spec = validation.job_spec(request, self._config, owner, self._queues)
        if (size := request.ByteSize()) > MAX_BYTES:
            raise MessageTooLarge(size, MAX_BYTES)
        new_id = self._ids.new()
        job = convert.job_to_proto(
            Job(id=new_id, spec=spec, status=JobStatus.QUEUED, create_time_ns=job_id.time_of(new_id))
        )
        return AcceptedJob(job, _with_defaults(request, spec, job), _hash(request), trace)


def _with_defaults(request: Request, spec: JobSpec, job: job_pb2.Job) -> Request:
    """Return the request for a node, whose own defaults do not count."""
    complete = Request()
    complete.CopyFrom(request)
    for name, value in asdict(spec.limits).items():
        setattr(complete, name, value)
    complete.limits_policy = job.limits_policy
    complete.network = job.network
    complete.max_scratch = job.max_scratch
    complete.stop_signal = job.stop_signal
    complete.stop_grace_period.CopyFrom(job.stop_grace_period)
    return complete


def _hash(request: Request) -> str:
    """Return a hash that differs between requests with the same `request_id`."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
