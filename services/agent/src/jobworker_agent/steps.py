"""The next step of an attempt, from what the cluster and the host know about it. Decides without I/O.

An attempt is pending, then started, then final, then reported. The agent keeps nothing on disk: after a
restart it derives the step from the Pod and from the host's answer. Each step can be repeated.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, get_args

from jobworker.v1 import job_pb2
from jobworker_agent import records_of_end
from jobworker_cluster.pods import JobPod
from jobworker_cluster.records import is_final


@dataclass(frozen=True)
class Progress:
    """The state of an attempt, as far as the agent has learned it since its start.

    `job` is the job as the host returned it last. `asked` is true when the host has answered; a job that is
    still None is unknown to it. `reported` is the record that the cluster has accepted last.
    """

    job: job_pb2.Job | None = None
    asked: bool = False
    reported: job_pb2.Job | None = None


@dataclass(frozen=True)
class Start:
    """Call RunJob, which returns the job if an earlier call has started it."""


@dataclass(frozen=True)
class Look:
    """Ask the host for the job. The cluster knows of a start, or does not want one."""


@dataclass(frozen=True)
class Report:
    """Write a record to the Pod."""

    job: job_pb2.Job


@dataclass(frozen=True)
class Wait:
    """Wait for the end of the job."""


@dataclass(frozen=True)
class Stop:
    """Stop the job for a client. Without `grace_period`, in seconds, it has its own."""

    subject: str
    grace_period: float | None = None


@dataclass(frozen=True)
class Evict:
    """Stop the job for the cluster."""

    message: str


@dataclass(frozen=True)
class Done:
    """The Pod has the final record. The gateway removes the Pod."""


Step: TypeAlias = Start | Look | Report | Wait | Stop | Evict | Done


def step_name(kind: type[Step]) -> str:
    """Return the name of a kind of steps in the log and in metrics."""
    return kind.__name__.lower()


STEP_NAMES = tuple(step_name(kind) for kind in get_args(Step) if kind is not Done)
"""The names of the steps that an attempt takes."""


class PodState(StrEnum):
    """The state of the job of a Pod. A job that the host has not told about yet is PENDING.

    An UNREPORTED job has ended, but the cluster has not accepted its record yet.
    """

    PENDING = "pending"
    RUNNING = "running"
    UNREPORTED = "unreported"
    REPORTED = "reported"


def next_step(pod: JobPod, progress: Progress) -> Step:
    """Return the next step of an attempt."""
    record = progress.reported or pod.record
    if record is not None and is_final(record):
        return Done()
    if progress.job is not None:
        return _step_of_known(pod, progress.job, record)
    if not progress.asked:
        return Start() if _may_start(pod, record) else Look()
    if record is not None:
        # The cluster has seen the job run, so it must not start again.
        return Report(records_of_end.vanished(pod))
    return Report(records_of_end.not_wanted(pod)) if _is_unwanted(pod) else Start()


def pod_state(pod: JobPod, progress: Progress) -> PodState:
    """Return the state of the job of a Pod."""
    match next_step(pod, progress):
        case Done():
            return PodState.REPORTED
        case Report(job) if is_final(job):
            return PodState.UNREPORTED
    return PodState.RUNNING if progress.job else PodState.PENDING


def _is_unwanted(pod: JobPod) -> bool:
    """Return whether the job must end. Only other controllers set Failed without a final record."""
    return pod.deleted or bool(pod.stopped_by) or pod.phase == "Failed"


def _may_start(pod: JobPod, record: job_pb2.Job | None) -> bool:
    return record is None and not _is_unwanted(pod)


def _step_of_known(pod: JobPod, job: job_pb2.Job, record: job_pb2.Job | None) -> Step:
    if is_final(job):
        return Report(job)
    if _is_unwanted(pod):
        if pod.stopped_by:
            return Stop(pod.stopped_by, pod.stop_grace_period)
        return Evict(records_of_end.eviction_message(pod))
    return Wait() if record is not None else Report(job)
