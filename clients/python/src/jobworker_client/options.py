"""The options of the methods of both clients."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict

from jobworker.v1 import job_output_pb2, job_pb2

__all__ = [
    "AttachOptions",
    "JobFilter",
    "JobOptions",
    "JobSelection",
    "LimitChanges",
    "Limits",
    "Seconds",
    "StreamOptions",
    "WatchFilter",
]

Seconds = timedelta | float
"""A duration: a `timedelta` or a number of seconds."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a job, with the names and units of `CreateJobRequest`.

    0 (or an empty `cpu_set`) selects the default of the server.

    Attributes:
        max_cpu: percent of one core; 100 = one core.
        max_memory: MiB.
        max_io_bps: bytes per second on block devices, for reads and for writes separately.
        max_pids: number of processes and threads.
        max_io_iops: operations per second on block devices, for reads and for writes separately.
        cpu_weight: share of the CPU under contention, 1 to 10,000; 100 is the default of every job.
        cpu_set: cores that the job may use, such as `0-1,3`; empty = all.
        policy: `LimitsPolicy.LIMITS_POLICY_STRICT` refuses the job if the server cannot enforce a limit.
            `LIMITS_POLICY_BEST_EFFORT` runs the job and reports the limit in `applied_limits`.
            `LIMITS_POLICY_UNSPECIFIED` uses the policy of the server.
    """

    max_cpu: int = 0
    max_memory: int = 0
    max_io_bps: int = 0
    max_pids: int = 0
    max_io_iops: int = 0
    cpu_weight: int = 0
    cpu_set: str = ""
    policy: job_pb2.LimitsPolicy.ValueType = job_pb2.LIMITS_POLICY_UNSPECIFIED


class LimitChanges(TypedDict, total=False):
    """The limits that `update` changes, in the units of `Limits`; a missing key leaves the limit as it is."""

    max_cpu: int
    max_memory: int
    max_io_bps: int
    max_pids: int
    max_io_iops: int
    cpu_weight: int
    cpu_set: str


class JobOptions(TypedDict, total=False):
    """Options of `create` and `run`.

    Keys:
        limits: limits of the job. Default: those of the server.
        working_directory: absolute path on the server. Default: the private directory of the job, which the
            server deletes with the job.
        env: environment variables, in addition to PATH, HOME, USER and LANG from the server.
        timeout: time after the start at which the server stops the job. Default: none.
        labels: key-value pairs to filter by in `list`.
        stop_signal: name or number of the signal that asks the job to exit. Default: SIGTERM.
        stop_grace_period: time between that signal and SIGKILL. Default: that of the server.
        request_id: idempotency key; a second call with the same id returns the first job. Default: a new
            UUID.
        network: `JobNetwork.JOB_NETWORK_NONE` gives the job only a loopback interface. Default: that of the
            server.
        max_scratch: bound on the private directories of the job together, in MiB. Default: that of the
            server.
        queue_timeout: maximum time in the queue if the server has no room for the job, up to 365 days. The
            job is then returned with status QUEUED. Default: the job does not wait, and the call raises
            `TooManyJobs`.
        priority: place in the queue, -100 to 100; higher priorities start first. Default: 0.
        stdin: `JobStdin.JOB_STDIN_OPEN` or `JOB_STDIN_ONCE` lets the job read what `attach` sends. Default:
            the job reads /dev/null.
        terminal: a `JobTerminal`, which gives the job a terminal. Default: none.
        queue: queue of the cluster, one that the gateway's configuration names. Only for a gateway. Default:
            its default queue.
        node_selector: labels of the nodes that the job can run on. Only for a gateway. Default: any node.
        retry_on_lost: True = the cluster starts the job again if it loses the node of the job, evicts the
            job or drains its node. Only for a gateway. Default: the job never runs twice.
    """

    limits: Limits
    working_directory: str
    env: Mapping[str, str]
    timeout: Seconds
    labels: Mapping[str, str]
    stop_signal: str
    stop_grace_period: Seconds
    request_id: str
    network: job_pb2.JobNetwork.ValueType
    max_scratch: int
    queue_timeout: Seconds
    priority: int
    stdin: job_pb2.JobStdin.ValueType
    terminal: job_pb2.JobTerminal
    queue: str
    node_selector: Mapping[str, str]
    retry_on_lost: bool


class JobSelection(TypedDict, total=False):
    """Filter of `list` and `watch`: a job must match every key.

    Keys:
        statuses: the job has one of these statuses, such as `JobStatus.JOB_STATUS_RUNNING`.
        labels: the job has all of these labels with these values.
        id_prefix: the id of the job begins with this.
        owner: the subject of the client certificate that created the job, complete and as in `Job.owner`.
        created_after: the server accepted the job at this time or later; needs a time zone.
        created_before: the server accepted the job before this time; needs a time zone.
        command_contains: the command line (command and arguments, joined by spaces) contains this text.
    """

    statuses: Iterable[job_pb2.JobStatus.ValueType]
    labels: Mapping[str, str]
    id_prefix: str
    owner: str
    created_after: datetime
    created_before: datetime
    command_contains: str


class JobFilter(JobSelection, total=False):
    """Filter of `list`: the keys of `JobSelection` and one more.

    Keys:
        live_usage: True = include the current usage of running jobs; otherwise they have none.
    """

    live_usage: bool


class WatchFilter(JobSelection, total=False):
    """Filter of `watch`: the keys of `JobSelection` and two more.

    Keys:
        ids: the job has one of these complete ids, at most 1,000.
        max_final_jobs: start with at most this number of jobs that have ended, the newest ones.
    """

    ids: Iterable[str]
    max_final_jobs: int


class StreamOptions(TypedDict, total=False):
    """Options of `stream`. If several options set the start, the latest start applies.

    Keys:
        offset: first byte, counted from 0 over stdout and stderr together.
        tail_lines: start this many lines before the current end.
        tail_bytes: start this many bytes before the current end.
        since: start with the output that the server read at this time or later; needs a time zone.
        source: `OutputSource.OUTPUT_SOURCE_STDOUT` or `OUTPUT_SOURCE_STDERR` only. Default: both.
        follow: False = end at the current end of the output. Default: True, to the end of the job.
    """

    offset: int
    tail_lines: int
    tail_bytes: int
    since: datetime
    source: job_output_pb2.OutputSource.ValueType
    follow: bool


class AttachOptions(TypedDict, total=False):
    """Options of `attach`.

    Keys:
        offset: first byte of the output, counted from 0 over stdout and stderr together.
        tail_bytes: start this many bytes before the current end of the output.
        take_over: True = take the stdin of the job over from the client that feeds it.
    """

    offset: int
    tail_bytes: int
    take_over: bool
