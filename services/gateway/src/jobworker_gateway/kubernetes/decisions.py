"""Decisions about the end of a job, without I/O. All gateways decide alike, so several can act at once."""

from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2
from jobworker_cluster import records
from jobworker_cluster.pods import JobPod
from jobworker_gateway.kubernetes import final_records


@dataclass(frozen=True)
class Wait:
    """Nothing to do: a later event decides."""


@dataclass(frozen=True)
class Archive:
    """Store the final record, and then remove the job from the cluster."""

    job: job_pb2.Job


@dataclass(frozen=True)
class Retry:
    """Release the attempt, and create the next one."""


@dataclass(frozen=True)
class DeletePod:
    """Let the cluster delete the Pod, for the reason that a gateway has noted in it."""


Decision = Wait | Archive | Retry | DeletePod

WAIT = Wait()


def decide(pod: JobPod, now: Timestamp, *, node_gone: bool, accepted: bool = True) -> Decision:
    """Return what to do about an attempt.

    `node_gone` is whether the cluster has lost the node of the Pod. Without its Secret, a job is not
    `accepted`, and cannot start again.

    The order matters: what the node has reported is true, whatever happened to the node later.
    """
    retries = accepted and pod.initial.retry_on_lost and not pod.stopped_by
    if pod.record is not None and records.is_final(pod.record):
        return Retry() if retries and _is_lost(pod.record) else Archive(final_records.of_attempt(pod))
    if not pod.deleted and (pod.stopped_by or (pod.queue_timed_out and not pod.node)):
        return DeletePod()
    if pod.deleted and not pod.node:
        # Kubernetes evicts by name. The eviction of an attempt can hit the next one, which is in the queue.
        evicted = retries and not pod.queue_timed_out
        return Retry() if evicted else Archive(_ended_in_queue(pod, now))
    if node_gone and pod.node and (pod.deleted or pod.phase == "Failed"):
        return Retry() if retries else Archive(final_records.lost(pod, now))
    return WAIT


def depends_on_node(pod: JobPod) -> bool:
    """Return whether only the loss of the node can end the job, if the node reports nothing."""
    return bool(pod.node) and not pod.final and (pod.deleted or pod.phase == "Failed")


def _is_lost(record: job_pb2.Job) -> bool:
    """Return whether the cluster, and not the command or a client, is the reason of the end."""
    return record.termination.reason in {
        job_pb2.TERMINATION_REASON_EVICTED,
        job_pb2.TERMINATION_REASON_LOST,
    }


def _ended_in_queue(pod: JobPod, now: Timestamp) -> job_pb2.Job:
    if pod.stopped_by:
        return final_records.stopped(pod, now)
    if pod.queue_timed_out:
        return final_records.queue_timed_out(pod, now)
    return final_records.evicted_from_queue(pod, now)
