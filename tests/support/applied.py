"""Names of limits and isolation parts, as in the fields of Job and in the server's configuration."""

from jobworker.v1 import job_pb2

__all__ = ["limit_name", "part_name", "reasons"]


def limit_name(applied: job_pb2.AppliedLimit) -> str:
    """Return the name of a limit, such as `max_cpu`."""
    return job_pb2.Limit.Name(applied.limit).removeprefix("LIMIT_").lower()


def part_name(applied: job_pb2.AppliedIsolation) -> str:
    """Return the name of a part of the isolation, such as `user`."""
    return job_pb2.IsolationPart.Name(applied.part).removeprefix("ISOLATION_PART_").lower()


def reasons(job: job_pb2.Job) -> dict[str, str]:
    """Return the reason why each limit of a job is not in force; an empty string if it is."""
    return {limit_name(limit): limit.reason for limit in job.applied_limits}
