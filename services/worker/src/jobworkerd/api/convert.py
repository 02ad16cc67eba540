"""Between the job model and the messages: the only file that knows both."""

import msgspec
from google.protobuf import duration_pb2, timestamp_pb2

from jobworker.v1 import job_pb2, job_service_pb2
from jobworkerd import model
from jobworkerd.api.signals import signal_name

_NANOSECONDS = 1_000_000_000


def timestamp(ns: int) -> timestamp_pb2.Timestamp:
    """Returns a time that is given in nanoseconds since the epoch."""
    return timestamp_pb2.Timestamp(seconds=ns // _NANOSECONDS, nanos=ns % _NANOSECONDS)


def duration(seconds: float) -> duration_pb2.Duration:
    """Returns a span that is given in seconds."""
    found = duration_pb2.Duration()
    found.FromNanoseconds(round(seconds * _NANOSECONDS))
    return found


def status_to_proto(status: model.JobStatus) -> job_pb2.JobStatus.ValueType:
    """Returns the message's value of a status."""
    return job_pb2.JobStatus.Value(f"JOB_STATUS_{status.name}")


def status_from_proto(status: job_pb2.JobStatus.ValueType) -> model.JobStatus:
    """Returns the model's value of a status that `validation` has accepted."""
    return model.JobStatus[job_pb2.JobStatus.Name(status).removeprefix("JOB_STATUS_")]


def source_to_proto(source: model.OutputSource) -> job_service_pb2.OutputSource.ValueType:
    """Returns the message's value of an output stream."""
    return job_service_pb2.OutputSource.Value(f"OUTPUT_SOURCE_{source.name}")


def policy_to_proto(policy: model.LimitsPolicy) -> job_pb2.LimitsPolicy.ValueType:
    """Returns the message's value of a policy."""
    return job_pb2.LimitsPolicy.Value(f"LIMITS_POLICY_{policy.name}")


def policy_from_proto(policy: job_pb2.LimitsPolicy.ValueType) -> model.LimitsPolicy:
    """Returns the model's value of a policy that `validation` has accepted."""
    return model.LimitsPolicy[job_pb2.LimitsPolicy.Name(policy).removeprefix("LIMITS_POLICY_")]


def job_to_proto(job: model.Job) -> job_pb2.Job:
    """Returns the message of a job. Its environment stays behind: it may hold secrets."""
    spec, limits = job.spec, job.spec.limits
    return job_pb2.Job(
        id=job.id,
        command=spec.command,
        args=spec.args,
        max_cpu=limits.max_cpu,
        max_memory=limits.max_memory,
        max_io_bps=limits.max_io_bps,
        max_pids=limits.max_pids,
        status=status_to_proto(job.status),
        create_time=timestamp(job.create_time_ns),
        start_time=None if job.start_time_ns is None else timestamp(job.start_time_ns),
        end_time=None if job.end_time_ns is None else timestamp(job.end_time_ns),
        exit_code=job.exit_code,
        owner=spec.owner,
        labels=spec.labels,
        working_directory=spec.working_directory,
        timeout=None if spec.timeout is None else duration(spec.timeout),
        stop_signal=signal_name(spec.stop_signal),
        stop_grace_period=duration(spec.stop_grace_period),
        limits_policy=policy_to_proto(spec.limits_policy),
        pid=job.pid,
        termination=job.termination and _termination(job.termination),
        limits_applied=[
            job_pb2.AppliedLimit(**msgspec.structs.asdict(limit)) for limit in job.limits_applied
        ],
        usage=job_pb2.Usage(**msgspec.structs.asdict(job.usage)),
        log_size=job.log_size,
    )


def _termination(termination: model.Termination) -> job_pb2.Termination:
    return job_pb2.Termination(
        reason=job_pb2.TerminationReason.Value(f"TERMINATION_REASON_{termination.reason.name}"),
        signal=termination.signal,
        signal_name=signal_name(termination.signal),
        message=termination.message,
        leftovers_killed=termination.leftovers_killed,
    )
