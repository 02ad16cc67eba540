"""The status of a Pod that corresponds to a job, for programs that know Pods but not jobs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2
from jobworker_cluster import names
from jobworker_cluster.records import is_final

_NEVER_RAN = 128
"""Exit code of a container whose job has none. It is also that of a job whose result is unknown."""

_MAX_MESSAGE = 1_024

JsonValue: TypeAlias = "str | int | bool | Mapping[str, JsonValue] | Sequence[JsonValue] | None"
JsonObject: TypeAlias = Mapping[str, JsonValue]


def pod_status(job: job_pb2.Job, host_ip: str) -> JsonObject:
    """Return the status of the Pod of a job that runs or has ended, as a strategic merge patch.

    `host_ip` is the address of the node, empty if it has only a name.
    """
    phase = _phase(job)
    running = phase == "Running"
    status: dict[str, JsonValue] = {
        "phase": phase,
        "conditions": [_condition(kind, job, running=running) for kind in ("Ready", "ContainersReady")],
        "containerStatuses": [
            {
                "name": names.CONTAINER,
                "image": names.IMAGE,
                "imageID": "",
                "ready": running,
                "started": running,
                "restartCount": 0,
                "state": {"running": {"startedAt": _time(job.start_time)}} if running else _terminated(job),
            }
        ],
    }
    if job.HasField("start_time"):
        status["startTime"] = _time(job.start_time)
    if host_ip:
        status |= {"hostIP": host_ip, "hostIPs": [{"ip": host_ip}]}
    if not running:
        status |= {"reason": _reason(job), "message": job.termination.message[:_MAX_MESSAGE]}
    return status


def exit_code(job: job_pb2.Job) -> int:
    """Return the exit code as a shell does: 128 and the number of the signal if a signal ended the job."""
    if job.HasField("exit_code"):
        return job.exit_code
    return _NEVER_RAN + job.termination.signal


def _phase(job: job_pb2.Job) -> str:
    if not is_final(job):
        return "Running"
    return "Succeeded" if job.status == job_pb2.JOB_STATUS_COMPLETED else "Failed"


def _terminated(job: job_pb2.Job) -> JsonObject:
    end = _time(job.end_time)
    state: dict[str, JsonValue] = {
        "exitCode": exit_code(job),
        "signal": job.termination.signal,
        "reason": _reason(job),
        "message": job.termination.message[:_MAX_MESSAGE],
        "startedAt": _time(job.start_time) if job.HasField("start_time") else end,
        "finishedAt": end,
    }
    return {"terminated": state}


def _condition(kind: str, job: job_pb2.Job, *, running: bool) -> JsonObject:
    since = job.start_time if running else job.end_time
    return {
        "type": kind,
        "status": "True" if running else "False",
        "reason": None if running else "PodCompleted",
        "lastTransitionTime": _time(since),
    }


def _reason(job: job_pb2.Job) -> str:
    """Return a reason in the style of Kubernetes, such as `OomKilled`."""
    name = job_pb2.TerminationReason.Name(job.termination.reason).removeprefix("TERMINATION_REASON_")
    return "".join(word.capitalize() for word in name.split("_"))


def _time(time: Timestamp) -> str:
    """Return a time as Kubernetes writes it, in whole seconds."""
    return datetime.fromtimestamp(time.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
