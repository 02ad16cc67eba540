"""Final records that the agent writes itself, because the host has none."""

from datetime import UTC, datetime
from types import MappingProxyType

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2
from jobworker_cluster import records
from jobworker_cluster.pods import JobPod

_EVICTIONS = MappingProxyType(
    {
        "PreemptionByScheduler": "preempted: a job with a higher priority took its place",
        "EvictionByEvictionAPI": "drained: an administrator removed the jobs from the node",
        "DeletionByTaintManager": "evicted: the cluster lost contact with the node, or tainted it",
        "DeletionByPodGC": "evicted: the node was removed from the cluster",
    }
)

ORPHANED = "evicted: the cluster has given up this attempt"
"""Reason of the end of a job that has no Pod any more."""

_MAX_MESSAGE = 1_024


def eviction_message(pod: JobPod) -> str:
    """Return why the cluster ends the job, in one sentence."""
    if not pod.disruption:
        return "evicted: its Pod was deleted"
    return _EVICTIONS.get(pod.disruption, f"evicted: {pod.disruption}")


def not_wanted(pod: JobPod) -> job_pb2.Job:
    """Return the record of a job that the cluster or a client ended before its start."""
    if pod.stopped_by:
        termination = job_pb2.Termination(
            reason=job_pb2.TERMINATION_REASON_STOPPED,
            message=f"stopped by {pod.stopped_by} before it started",
            stopped_by=pod.stopped_by,
        )
    else:
        termination = job_pb2.Termination(
            reason=job_pb2.TERMINATION_REASON_EVICTED, message=eviction_message(pod)
        )
    return _ended(pod, job_pb2.JOB_STATUS_STOPPED, termination)


def given_up(pod: JobPod) -> job_pb2.Job:
    """Return the record of an attempt that the cluster gave up before its start."""
    termination = job_pb2.Termination(reason=job_pb2.TERMINATION_REASON_EVICTED, message=ORPHANED)
    return _ended(pod, job_pb2.JOB_STATUS_STOPPED, termination)


def not_started(pod: JobPod, why: str, start_error: job_pb2.StartError | None = None) -> job_pb2.Job:
    """Return the record of a job that cannot start."""
    termination = job_pb2.Termination(
        reason=job_pb2.TERMINATION_REASON_NOT_STARTED,
        message=why[:_MAX_MESSAGE],
        start_error=start_error,
    )
    return _ended(pod, job_pb2.JOB_STATUS_FAILED, termination)


def queue_timed_out(pod: JobPod, now: datetime) -> job_pb2.Job | None:
    """Return the record of a job that has not started within its queue timeout; None if it can still wait.

    `now` is the time of the cluster. As in its queue, only the first attempt has a queue timeout.
    """
    initial = pod.initial
    if pod.attempt > 1 or not initial.HasField("queue_timeout"):
        return None
    if now < initial.create_time.ToDatetime(UTC) + initial.queue_timeout.ToTimedelta():
        return None
    return _ended(pod, job_pb2.JOB_STATUS_FAILED, records.queue_timed_out(initial))


def ran_before(pod: JobPod) -> job_pb2.Job:
    """Return the record of a job that has run on this host for a Pod that was removed by hand."""
    termination = job_pb2.Termination(
        reason=job_pb2.TERMINATION_REASON_LOST,
        message="the node has started the job for another Pod, which was removed; it does not start again",
    )
    return _ended(pod, job_pb2.JOB_STATUS_LOST, termination)


def vanished(pod: JobPod) -> job_pb2.Job:
    """Return the record of a job that ran on this host, which has no record of it any more."""
    termination = job_pb2.Termination(
        reason=job_pb2.TERMINATION_REASON_LOST,
        message="the node has no record of the job any more: the record or the state of the node was deleted",
    )
    found = _ended(pod, job_pb2.JOB_STATUS_LOST, termination)
    if pod.record and pod.record.HasField("start_time"):
        found.start_time.CopyFrom(pod.record.start_time)
    return found


def _ended(pod: JobPod, status: job_pb2.JobStatus.ValueType, termination: job_pb2.Termination) -> job_pb2.Job:
    job = job_pb2.Job()
    job.CopyFrom(pod.initial)
    job.status = status
    job.attempt = pod.attempt
    job.queue_position = 0
    job.queue_reason = ""
    end = Timestamp()
    end.GetCurrentTime()
    if end.ToNanoseconds() < job.create_time.ToNanoseconds():  # the gateway's clock is ahead
        end.CopyFrom(job.create_time)
    job.end_time.CopyFrom(end)
    job.termination.CopyFrom(termination)
    return job
