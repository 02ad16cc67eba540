"""The state of a job in its Pod, as clients see it."""

from jobworker.v1 import job_pb2
from jobworker_cluster.pods import JobPod

_WAITS = "waits for the scheduler of the cluster"

# The scheduler adds this for each job of a class that evicts no others. Users cannot change it.
_EVICTS_NONE = " preemption: not eligible due to preemptionPolicy=Never."


def job_of(pod: JobPod) -> job_pb2.Job:
    """Return the job in a Pod, with a status that is not final: only the archive can make it final."""
    job = job_pb2.Job()
    job.CopyFrom(pod.merged)
    job.node, job.attempt = pod.node, pod.attempt
    if pod.final:
        job.ClearField("end_time")
        job.ClearField("exit_code")
        job.ClearField("termination")
    job.status = _status(pod)
    job.queue_position = 0
    job.queue_reason = _queue_reason(pod) if job.status == job_pb2.JOB_STATUS_QUEUED else ""
    return job


def _queue_reason(pod: JobPod) -> str:
    if pod.node:
        return f"waits on node {pod.node}: {pod.shortage}"
    return pod.waits_for.removesuffix(_EVICTS_NONE) or _WAITS


def _status(pod: JobPod) -> job_pb2.JobStatus.ValueType:
    if not pod.node or (pod.shortage and not pod.record):
        return job_pb2.JOB_STATUS_QUEUED
    if pod.record and pod.record.HasField("start_time"):
        return job_pb2.JOB_STATUS_RUNNING
    return job_pb2.JOB_STATUS_INITIALIZING
