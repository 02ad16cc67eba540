"""Lines about the limits and the isolation of a job, with what the kernel applies."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from jobworker.v1 import job_pb2
from jobworker_cli.render.units import format_size

__all__ = ["Row", "applied_limit", "isolation_rows", "limit_rows", "unenforced"]

Row = tuple[str, str]
"""A label and its text."""

Describe = Callable[[job_pb2.Job], str]
"""Return the requested limit, or "" to omit the line."""

# A limit without an entry gets a label from its name, and the text of the applied limit.
LIMITS: Mapping[job_pb2.Limit.ValueType, tuple[str, Describe]] = MappingProxyType(
    {
        job_pb2.LIMIT_MAX_CPU: ("CPU limit", lambda job: f"{job.max_cpu}% of one core"),
        job_pb2.LIMIT_MAX_MEMORY: ("Memory limit", lambda job: format_size(job.max_memory * 1024 * 1024)),
        job_pb2.LIMIT_MAX_IO_BPS: (
            "I/O limit",
            lambda job: f"{format_size(job.max_io_bps)}/s" if job.max_io_bps else "none",
        ),
        job_pb2.LIMIT_MAX_PIDS: ("Process limit", lambda job: str(job.max_pids or "none")),
        job_pb2.LIMIT_MAX_IO_IOPS: (
            "I/O ops limit",
            lambda job: f"{job.max_io_iops}/s" if job.max_io_iops else "",
        ),
        job_pb2.LIMIT_CPU_WEIGHT: ("CPU weight", lambda job: str(job.cpu_weight or "")),
        job_pb2.LIMIT_CPU_SET: ("Cores", lambda job: job.cpu_set),
    }
)

# A newer server can send numbers without an entry.
LIMIT_NAMES: Mapping[int, str] = MappingProxyType(
    {number: name.removeprefix("LIMIT_").lower() for name, number in job_pb2.Limit.items()}
)

PART_NAMES: Mapping[int, str] = MappingProxyType(
    {number: name.removeprefix("ISOLATION_PART_").lower() for name, number in job_pb2.IsolationPart.items()}
)


def applied_limit(job: job_pb2.Job, number: job_pb2.Limit.ValueType) -> job_pb2.AppliedLimit | None:
    """Return what the kernel applies for a limit such as `LIMIT_MAX_MEMORY`."""
    return next((limit for limit in job.applied_limits if limit.limit == number), None)


def unenforced(job: job_pb2.Job) -> list[str]:
    """Return the names of the limits and isolation parts that are not in force."""
    limits = [_limit_name(limit.limit) for limit in job.applied_limits if not limit.in_force]
    return limits + [_part_name(part.part) for part in job.applied_isolation if not part.in_force]


def limit_rows(job: job_pb2.Job) -> Iterator[Row]:
    """Yield one line per limit."""
    described = set()
    for number, (label, describe) in LIMITS.items():
        if text := describe(job):
            described.add(number)
            yield label, ", ".join(filter(None, (text, _state(applied_limit(job, number)))))
    for limit in job.applied_limits:
        if limit.limit not in described:
            yield _label(_limit_name(limit.limit)), _state(limit)


def isolation_rows(job: job_pb2.Job) -> Iterator[Row]:
    """Yield one line per isolation part."""
    for part in job.applied_isolation:
        state = "in force" if part.in_force else f"not in force: {part.reason}"
        yield _label(_part_name(part.part)), f"{part.value}, {state}" if part.value else state


def _limit_name(number: int) -> str:
    return LIMIT_NAMES.get(number, f"unknown limit {number}")


def _part_name(number: int) -> str:
    return PART_NAMES.get(number, f"unknown part {number}")


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _state(limit: job_pb2.AppliedLimit | None) -> str:
    if limit is None:
        return ""
    if not limit.in_force:
        return f"not in force: {limit.reason}"
    evidence = ": ".join(part for part in (limit.file, limit.value) if part)
    return f"in force ({evidence})" if evidence else "in force"
