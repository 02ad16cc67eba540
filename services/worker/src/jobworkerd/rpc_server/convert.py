"""Converts the structs of the model to messages of the API. Only this module knows both names of a field."""

from collections.abc import Mapping
from types import MappingProxyType

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec.structs import asdict

from jobworker.v1 import job_output_pb2, job_pb2
from jobworkerd.model import (
    AppliedIsolation,
    AppliedLimit,
    Job,
    JobStatus,
    LimitsPolicy,
    Network,
    OutputSource,
    StartError,
    Stdin,
    Termination,
    Usage,
)
from jobworkerd.rpc_server.status import reason_of
from jobworkerd.signals import signal_name
from jobworkerd.terminal import TerminalResize

STATUSES: Mapping[int, JobStatus] = MappingProxyType(
    {job_pb2.JobStatus.Value(f"JOB_STATUS_{status.name}"): status for status in JobStatus}
)
"""Statuses by their numbers in the API, without JOB_STATUS_UNSPECIFIED."""

LIMITS_POLICIES: Mapping[int, LimitsPolicy] = MappingProxyType(
    {job_pb2.LimitsPolicy.Value(f"LIMITS_POLICY_{policy.name}"): policy for policy in LimitsPolicy}
)
"""Policies by their numbers in the API, without LIMITS_POLICY_UNSPECIFIED."""

NETWORKS: Mapping[int, Network] = MappingProxyType(
    {job_pb2.JobNetwork.Value(f"JOB_NETWORK_{network.name}"): network for network in Network}
)
"""Networks by their numbers in the API, without JOB_NETWORK_UNSPECIFIED."""

STDINS: Mapping[int, Stdin] = MappingProxyType(
    {job_pb2.JobStdin.Value(f"JOB_STDIN_{stdin.name}"): stdin for stdin in Stdin}
)
"""Sources of stdin by their numbers in the API, without JOB_STDIN_UNSPECIFIED."""

SOURCES: Mapping[job_output_pb2.OutputSource.ValueType, OutputSource] = MappingProxyType(
    {job_output_pb2.OutputSource.Value(f"OUTPUT_SOURCE_{source.name}"): source for source in OutputSource}
)
"""Sources by their numbers in the API, without OUTPUT_SOURCE_UNSPECIFIED."""

LIMITS: Mapping[str, job_pb2.Limit.ValueType] = MappingProxyType(
    {name.removeprefix("LIMIT_").lower(): number for name, number in job_pb2.Limit.items() if number}
)
"""The number of each limit in the API, by the name in the model."""

ISOLATION_PARTS: Mapping[str, job_pb2.IsolationPart.ValueType] = MappingProxyType(
    {
        name.removeprefix("ISOLATION_PART_").lower(): number
        for name, number in job_pb2.IsolationPart.items()
        if number
    }
)
"""The number of each part of the isolation in the API, by the name in the model."""


def timestamp(ns: int) -> Timestamp:
    """Return a timestamp for nanoseconds since the epoch."""
    seconds, nanos = divmod(ns, 10**9)
    return Timestamp(seconds=seconds, nanos=nanos)


def _optional_timestamp(ns: int | None) -> Timestamp | None:
    return None if ns is None else timestamp(ns)


def duration(seconds: float) -> Duration:
    """Return a duration for seconds."""
    whole, nanos = divmod(round(seconds * 10**9), 10**9)
    return Duration(seconds=whole, nanos=nanos)


def job_to_proto(job: Job) -> job_pb2.Job:
    """Return the message of a job. It has neither the environment nor the request id."""
    spec = job.spec
    return job_pb2.Job(
        id=job.id,
        command=spec.command,
        args=spec.args,
        status=job_pb2.JobStatus.Value(f"JOB_STATUS_{job.status.name}"),
        start_time=_optional_timestamp(job.start_time_ns),
        end_time=_optional_timestamp(job.end_time_ns),
        exit_code=job.exit_code,
        owner=spec.owner,
        labels=spec.labels,
        create_time=timestamp(job.create_time_ns),
        working_directory=spec.working_directory,
        timeout=None if spec.timeout is None else duration(spec.timeout),
        stop_signal=signal_name(spec.stop_signal),
        stop_grace_period=duration(spec.stop_grace_period),
        limits_policy=job_pb2.LimitsPolicy.Value(f"LIMITS_POLICY_{spec.limits_policy.name}"),
        pid=job.pid,
        termination=None if job.termination is None else _termination(job.termination),
        applied_limits=[_applied_limit(limit) for limit in job.applied_limits],
        usage=_usage(job.usage),
        log_size=job.log_size,
        kill_pending=job.kill_pending,
        memory_high_lift_time=_optional_timestamp(job.memory_high_lift_time_ns),
        network=job_pb2.JobNetwork.Value(f"JOB_NETWORK_{spec.network.name}"),
        applied_isolation=[_applied_isolation(part) for part in job.applied_isolation],
        max_scratch=spec.max_scratch,
        priority=spec.priority,
        queue_timeout=None if spec.queue_timeout is None else duration(spec.queue_timeout),
        queue_position=job.queue_position,
        queue_reason=job.queue_reason,
        terminal=None if spec.terminal is None else job_pb2.JobTerminal(**asdict(spec.terminal)),
        terminal_resizes=[terminal_resize(each) for each in job.terminal_resizes],
        stdin=job_pb2.JobStdin.Value(f"JOB_STDIN_{spec.stdin.name}"),
        queue=spec.queue,
        node_selector=spec.node_selector,
        retry_on_lost=spec.retry_on_lost,
        node=spec.node,
        attempt=spec.attempt,
        **asdict(spec.limits),
    )


def terminal_resize(resize: TerminalResize) -> job_pb2.TerminalResize:
    """Return the message of a size of a terminal."""
    return job_pb2.TerminalResize(**asdict(resize))


def _termination(termination: Termination) -> job_pb2.Termination:
    error = termination.start_error
    return job_pb2.Termination(
        reason=job_pb2.TerminationReason.Value(f"TERMINATION_REASON_{termination.reason.name}"),
        signal=termination.signal,
        signal_name=signal_name(termination.signal),
        message=termination.message,
        leftovers_killed=termination.leftovers_killed,
        oom_killed=termination.oom_killed,
        stopped_by=termination.stopped_by,
        start_error=None if error is None else _start_error(error),
    )


def _start_error(error: StartError) -> job_pb2.StartError:
    return job_pb2.StartError(reason=reason_of(error.kind), field=error.field, errno_name=error.errno_name)


def _applied_limit(limit: AppliedLimit) -> job_pb2.AppliedLimit:
    return job_pb2.AppliedLimit(
        limit=LIMITS[limit.limit],
        in_force=limit.in_force,
        file=limit.file,
        value=limit.value,
        reason=limit.reason,
    )


def _applied_isolation(part: AppliedIsolation) -> job_pb2.AppliedIsolation:
    return job_pb2.AppliedIsolation(
        part=ISOLATION_PARTS[part.part], in_force=part.in_force, value=part.value, reason=part.reason
    )


def _usage(usage: Usage) -> job_pb2.Usage:
    return job_pb2.Usage(
        wall_usec=usage.wall_usec,
        cpu_user_usec=usage.cpu_user_usec,
        cpu_system_usec=usage.cpu_system_usec,
        cpu_throttled_usec=usage.cpu_throttled_usec,
        memory_peak_bytes=usage.memory_peak_bytes,
        memory_current_bytes=usage.memory_current_bytes,
        memory_high_count=usage.memory_high_count,
        oom_count=usage.oom_count,
        oom_kill_count=usage.oom_kill_count,
        io_read_bytes=usage.io_read_bytes,
        io_write_bytes=usage.io_write_bytes,
        io_read_count=usage.io_read_count,
        io_write_count=usage.io_write_count,
        pids_peak_count=usage.pids_peak_count,
        pids_denied_count=usage.pids_denied_count,
        cpu_pressure_some_usec=usage.cpu_pressure_some_usec,
        cpu_pressure_full_usec=usage.cpu_pressure_full_usec,
        memory_pressure_some_usec=usage.memory_pressure_some_usec,
        memory_pressure_full_usec=usage.memory_pressure_full_usec,
        io_pressure_some_usec=usage.io_pressure_some_usec,
        io_pressure_full_usec=usage.io_pressure_full_usec,
        scratch_bytes=usage.scratch_bytes,
    )
