"""Rates of a job between two measurements of its usage, by the clock of the server."""

from dataclasses import dataclass

from jobworker.v1 import job_pb2

__all__ = ["Rates", "usage_rates"]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Percent of one core, bytes per second, operations per second; None if not measured."""

    cpu: float | None = None
    read: float | None = None
    written: float | None = None
    operations: float | None = None


def usage_rates(previous: job_pb2.Usage | None, current: job_pb2.Usage) -> Rates:
    """Return the rates between two measurements; all None without a previous one."""
    elapsed = current.wall_usec - previous.wall_usec if previous is not None else 0
    if previous is None or elapsed <= 0:
        return Rates()
    present = {field.name for field, _ in current.ListFields()}

    def rate(*names: str) -> float | None:
        if not present.issuperset(names):
            return None
        used = sum(int(getattr(current, name)) - int(getattr(previous, name)) for name in names)
        return used / elapsed * 1_000_000

    cpu = rate("cpu_user_usec", "cpu_system_usec")
    return Rates(
        cpu=None if cpu is None else cpu / 10_000,
        read=rate("io_read_bytes"),
        written=rate("io_write_bytes"),
        operations=rate("io_read_count", "io_write_count"),
    )
