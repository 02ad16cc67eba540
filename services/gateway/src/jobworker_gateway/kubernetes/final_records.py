"""The records of jobs whose end no node reports."""

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2
from jobworker_cluster import records
from jobworker_cluster.pods import JobPod
from jobworkerd import job_id


def of_attempt(pod: JobPod) -> job_pb2.Job:
    """Return the record of an attempt as its node has written it last."""
    job = job_pb2.Job()
    job.CopyFrom(pod.merged)
    job.node, job.attempt = pod.node, pod.attempt
    return job


def stopped(pod: JobPod, now: Timestamp) -> job_pb2.Job:
    """Return the record of a job that a client stopped in the queue."""
    termination = job_pb2.Termination(
        reason=job_pb2.TERMINATION_REASON_STOPPED,
        message=f"stopped by {pod.stopped_by} while it was in the queue; {_history(pod)}",
        stopped_by=pod.stopped_by,
    )
    return _ended(pod.initial, job_pb2.JOB_STATUS_STOPPED, termination, now)


def queue_timed_out(pod: JobPod, now: Timestamp) -> job_pb2.Job:
    """Return the record of a job that was in the queue for its longest time."""
    return _ended(pod.initial, job_pb2.JOB_STATUS_FAILED, records.queue_timed_out(pod.initial), now)


def evicted_from_queue(pod: JobPod, now: Timestamp) -> job_pb2.Job:
    """Return the record of a job whose Pod was deleted in the queue, but not by a gateway."""
    termination = job_pb2.Termination(
        reason=job_pb2.TERMINATION_REASON_EVICTED,
        message=f"an administrator of the cluster deleted the Pod of the job; {_history(pod)}",
    )
    return _ended(pod.initial, job_pb2.JOB_STATUS_STOPPED, termination, now)


def lost(pod: JobPod, now: Timestamp) -> job_pb2.Job:
    """Return the record of a job whose node is gone."""
    return _lost(of_attempt(pod), f"the cluster lost node {pod.node}", now)


def removed(known: job_pb2.Job, now: Timestamp) -> job_pb2.Job:
    """Return the record of a job whose Pod has disappeared. `known` is what the gateway has seen of it."""
    return _lost(known, "the Pod of the job was removed from the cluster", now)


def damaged(known: job_pb2.Job, why: str, now: Timestamp) -> job_pb2.Job:
    """Return the record of a job whose Secret or Pod was changed by hand, so that it cannot be read.

    `known` can have only the id, which contains the time of creation.
    """
    job = job_pb2.Job()
    job.CopyFrom(known)
    if not job.HasField("create_time") and job_id.is_job_id(job.id):
        job.create_time.FromNanoseconds(job_id.time_of(job.id))
    return _lost(job, f"an object of the job was changed by hand and cannot be read ({why})", now)


def _lost(known: job_pb2.Job, why: str, now: Timestamp) -> job_pb2.Job:
    termination = job_pb2.Termination(
        reason=job_pb2.TERMINATION_REASON_LOST, message=f"{why}; the result of the job is unknown"
    )
    job = _ended(known, job_pb2.JOB_STATUS_LOST, termination, now)
    job.pid = 0
    return job


def _history(pod: JobPod) -> str:
    return "the command never ran" if pod.attempt == 1 else "its earlier attempts ended without a result"


def _ended(
    job: job_pb2.Job,
    status: job_pb2.JobStatus.ValueType,
    termination: job_pb2.Termination,
    now: Timestamp,
) -> job_pb2.Job:
    ended = job_pb2.Job()
    ended.CopyFrom(job)
    ended.status = status
    ended.termination.CopyFrom(termination)
    ended.queue_position, ended.queue_reason = 0, ""
    # The clock of the gateway that created the job, or that of the node, may be ahead.
    latest = max(now.ToNanoseconds(), job.create_time.ToNanoseconds(), job.start_time.ToNanoseconds())
    ended.end_time.FromNanoseconds(latest)
    return ended
