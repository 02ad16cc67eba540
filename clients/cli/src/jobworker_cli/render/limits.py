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
LIMITS: Mapping[str, tuple[str, Describe]] = MappingProxyType(
    {
        "max_cpu": ("CPU limit", lambda job: f"{job.max_cpu}% of one core"),
        "max_memory": ("Memory limit", lambda job: format_size(job.max_memory * 1024 * 1024)),
        "max_io_bps": (
            "I/O limit",
            lambda job: f"{format_size(job.max_io_bps)}/s" if job.max_io_bps else "none",
        ),
        "max_pids": ("Process limit", lambda job: str(job.max_pids or "none")),
        "max_io_iops": ("I/O ops limit", lambda job: f"{job.max_io_iops}/s" if job.max_io_iops else ""),
        "cpu_weight": ("CPU weight", lambda job: str(job.cpu_weight or "")),
        "cpu_set": ("Cores", lambda job: job.cpu_set),
    }
)


def applied_limit(job: job_pb2.Job, name: str) -> job_pb2.AppliedLimit | None:
    """Return what the kernel applies for a limit such as `max_memory`."""
    return next((limit for limit in job.limits_applied if limit.limit == name), None)


def unenforced(job: job_pb2.Job) -> list[str]:
    """Return the names of the limits and isolation parts that are not in force."""
    limits = [limit.limit for limit in job.limits_applied if not limit.in_force]
    return limits + [part.part for part in job.isolation_applied if not part.in_force]


def limit_rows(job: job_pb2.Job) -> Iterator[Row]:
    """Yield one line per limit."""
    described = set()
    for name, (label, describe) in LIMITS.items():
        if text := describe(job):
            described.add(name)
            yield label, ", ".join(filter(None, (text, _state(applied_limit(job, name)))))
    for limit in job.limits_applied:
        if limit.limit not in described:
            yield _label(limit.limit), _state(limit)


def isolation_rows(job: job_pb2.Job) -> Iterator[Row]:
    """Yield one line per isolation part."""
    for part in job.isolation_applied:
        state = "in force" if part.in_force else f"not in force: {part.reason}"
        yield _label(part.part), f"{part.value}, {state}" if part.value else state


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _state(limit: job_pb2.AppliedLimit | None) -> str:
    if limit is None:
        return ""
    if not limit.in_force:
        return f"not in force: {limit.reason}"
    evidence = ": ".join(part for part in (limit.file, limit.value) if part)
    return f"in force ({evidence})" if evidence else "in force"
