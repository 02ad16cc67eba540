"""The API's requests, from what a caller says in Python."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypedDict, Unpack

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2, job_service_pb2

__all__ = [
    "JobFilter",
    "JobOptions",
    "LimitChanges",
    "Limits",
    "Part",
    "Span",
    "create_request",
    "list_request",
    "repeatable",
    "result_request",
    "stop_request",
    "stream_request",
    "update_request",
]

Span = timedelta | float
"""A duration; a number is in seconds."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a job may use; 0 = the server's default.

    Attributes:
        cpu: percent of one core, 100 = one core.
        memory: MiB.
        io_bps: bytes a second for reads and, separately, for writes of block devices.
        pids: processes and threads at once.
        io_iops: operations a second, likewise.
        cpu_weight: the share of the CPU where others want it, too, from 1 to 10,000; 100 is everybody's.
        cpu_set: the cores to run on, such as `0-1,3`; empty = all.
        strict: True = do not run the job where a limit cannot be enforced; False = run it, and say so in
            `limits_applied`; None = as the server is configured.
    """

    cpu: int = 0
    memory: int = 0
    io_bps: int = 0
    pids: int = 0
    io_iops: int = 0
    cpu_weight: int = 0
    cpu_set: str = ""
    strict: bool | None = None


class LimitChanges(TypedDict, total=False):
    """The limits that `update` changes: those that are given, as `Limits` has them."""

    cpu: int
    memory: int
    io_bps: int
    pids: int
    io_iops: int
    cpu_weight: int
    cpu_set: str


class JobOptions(TypedDict, total=False):
    """What `create` and `run` take besides the command and its arguments.

    Keys:
        limits: what the job may use.
        working_directory: where it starts, on the server; default: its private directory, which goes with it.
        env: variables over PATH, HOME, USER and LANG, which the server sets.
        timeout: when it is stopped, from its start.
        labels: for `list`.
        stop_signal: what asks it to end; default SIGTERM.
        stop_grace_period: how long it may take to end before it is killed.
        request_id: a repeated call with the same id returns the first one's job. Default: a new UUID.
        network: `JobNetwork.JOB_NETWORK_NONE` = a loopback interface of its own alone. Default: the server's.
    """

    limits: Limits
    working_directory: str
    env: Mapping[str, str]
    timeout: Span
    labels: Mapping[str, str]
    stop_signal: str
    stop_grace_period: Span
    request_id: str
    network: job_pb2.JobNetwork.ValueType


class JobFilter(TypedDict, total=False):
    """Which jobs `list` returns: those that fit everything that is given.

    Keys:
        statuses: jobs with one of these, such as `JobStatus.JOB_STATUS_RUNNING`.
        labels: jobs with each of these labels and its value.
        id_prefix: jobs whose id begins with this.
        live_usage: True = running jobs have their usage of this moment, else none.
    """

    statuses: Iterable[job_pb2.JobStatus.ValueType]
    labels: Mapping[str, str]
    id_prefix: str
    live_usage: bool


class Part(TypedDict, total=False):
    """Which part of the output `stream` returns; of several places to begin the latest one counts.

    Keys:
        offset: from this byte on, counted from 0 over stdout and stderr together.
        tail_lines: the last lines of what is there, and what comes.
        tail_bytes: the last bytes of what is there, and what comes.
        since: what the server read from the job at this moment (with a time zone) or later.
        source: `OutputSource.OUTPUT_SOURCE_STDOUT` or `…_STDERR` alone.
        follow: False = what is there now; default True: to the job's end.
    """

    offset: int
    tail_lines: int
    tail_bytes: int
    since: datetime
    source: job_service_pb2.OutputSource.ValueType
    follow: bool


def create_request(
    command: str, args: Iterable[str], **options: Unpack[JobOptions]
) -> job_service_pb2.CreateJobRequest:
    """Returns the request for a job."""
    limits = options.get("limits", Limits())
    return job_service_pb2.CreateJobRequest(
        command=command,
        args=args,
        max_cpu=limits.cpu,
        max_memory=limits.memory,
        max_io_bps=limits.io_bps,
        max_pids=limits.pids,
        max_io_iops=limits.io_iops,
        cpu_weight=limits.cpu_weight,
        cpu_set=limits.cpu_set,
        limits_policy=_policy(limits),
        working_directory=options.get("working_directory", ""),
        env=options.get("env"),
        timeout=_duration(options.get("timeout")),
        labels=options.get("labels"),
        stop_signal=options.get("stop_signal", ""),
        stop_grace_period=_duration(options.get("stop_grace_period")),
        request_id=options.get("request_id", ""),
        network=options.get("network", job_pb2.JOB_NETWORK_UNSPECIFIED),
    )


def repeatable(request: job_service_pb2.CreateJobRequest) -> job_service_pb2.CreateJobRequest:
    """Returns the request with an id, a new one if it has none, which makes it safe to repeat."""
    # Imported here: it asks the system for its network interfaces, which takes longer than the rest.
    import uuid

    copy = job_service_pb2.CreateJobRequest()
    copy.CopyFrom(request)
    copy.request_id = request.request_id or str(uuid.uuid4())
    return copy


def list_request(**which: Unpack[JobFilter]) -> job_service_pb2.ListJobsRequest:
    """Returns the request for jobs."""
    return job_service_pb2.ListJobsRequest(
        statuses=which.get("statuses"),
        labels=which.get("labels"),
        id_prefix=which.get("id_prefix", ""),
        live_usage=which.get("live_usage", False),
    )


def update_request(job_id: str, **changes: Unpack[LimitChanges]) -> job_service_pb2.UpdateJobRequest:
    """Returns the request for other limits."""
    return job_service_pb2.UpdateJobRequest(
        id=job_id,
        max_cpu=changes.get("cpu"),
        max_memory=changes.get("memory"),
        max_io_bps=changes.get("io_bps"),
        max_pids=changes.get("pids"),
        max_io_iops=changes.get("io_iops"),
        cpu_weight=changes.get("cpu_weight"),
        cpu_set=changes.get("cpu_set"),
    )


def stop_request(job_id: str, grace_period: Span | None) -> job_service_pb2.StopJobRequest:
    """Returns the request for a job's end; None = the grace period that the job was created with."""
    return job_service_pb2.StopJobRequest(id=job_id, grace_period=_duration(grace_period))


def stream_request(job_id: str, **part: Unpack[Part]) -> job_service_pb2.GetJobsStreamRequest:
    """Returns the request for a job's output."""
    return job_service_pb2.GetJobsStreamRequest(
        id=job_id,
        offset=part.get("offset", 0),
        follow=part.get("follow", True),
        tail_lines=part.get("tail_lines"),
        tail_bytes=part.get("tail_bytes"),
        source=part.get("source", job_service_pb2.OUTPUT_SOURCE_UNSPECIFIED),
        since=_timestamp(part.get("since")),
    )


def result_request(job_id: str) -> job_service_pb2.GetJobsStreamRequest:
    """Returns the request for a job's result, once there is one."""
    return job_service_pb2.GetJobsStreamRequest(id=job_id, follow=True, result_only=True)


def _policy(limits: Limits) -> job_pb2.LimitsPolicy.ValueType:
    if limits.strict is None:
        return job_pb2.LIMITS_POLICY_UNSPECIFIED
    return job_pb2.LIMITS_POLICY_STRICT if limits.strict else job_pb2.LIMITS_POLICY_BEST_EFFORT


def _duration(span: Span | None) -> Duration | None:
    if span is None:
        return None
    duration = Duration()
    duration.FromTimedelta(span if isinstance(span, timedelta) else timedelta(seconds=span))
    return duration


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"since={moment} has no time zone; give it one, such as tzinfo=datetime.UTC")
    timestamp = Timestamp()
    timestamp.FromDatetime(moment.astimezone(UTC))
    return timestamp
