"""Whether a node has the output of a job, and messages for output that it has no more."""

import grpc

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2
from jobworker_cluster.records import is_final
from jobworker_gateway.node_errors import NodeError
from jobworkerd.errors import NodeUnreachable

Response = job_service_pb2.GetJobsStreamResponse


def has_log(job: job_pb2.Job) -> bool:
    """Return whether the node of a job has its output. Only a job that has started has some."""
    if is_final(job):
        return bool(job.node) and job.HasField("start_time")
    return job.status == job_pb2.JOB_STATUS_RUNNING


def removed(job: job_pb2.Job) -> str:
    """Return the reason for a final job that its node has removed."""
    return f"node {job.node} has removed the output"


def lost(job: job_pb2.Job) -> str:
    """Return the reason for a lost job whose node does not answer."""
    return f"node {job.node} of the job is lost"


def has_left(job: job_pb2.Job) -> str:
    """Return the reason for a final job whose node an administrator has removed."""
    return f"node {job.node} is not in the cluster any more"


def reason(job: job_pb2.Job, error: NodeError | NodeUnreachable) -> str:
    """Return why the output of a job is missing after an error of its node; empty if it may be there."""
    if isinstance(error, NodeUnreachable):
        return lost(job) if job.status == job_pb2.JOB_STATUS_LOST else ""
    is_removed = error.status.code is grpc.StatusCode.NOT_FOUND and is_final(job)
    return removed(job) if is_removed else ""


def messages(job: job_pb2.Job, begin: int, why: str) -> tuple[Response, ...]:
    """Return the messages about the output from an offset to its end, and the result."""
    end = max(begin, job.log_size)
    result = Response(result=job, offset=end, next_offset=end)
    if begin == end:
        return (result,)
    missing = job_output_pb2.TruncatedRange(from_offset=begin, to_offset=end, reason=why)
    return Response(truncated=missing, offset=begin, next_offset=end), result
