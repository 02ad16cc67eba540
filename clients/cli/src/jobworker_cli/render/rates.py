"""What a job uses now: the difference between two moments of its usage, by the server's own clock."""

from dataclasses import dataclass

from jobworker.v1 import job_pb2

__all__ = ["Rates", "rates"]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Percent of one core, bytes a second, operations a second; None where that is not measured."""

    cpu: float | None = None
    read: float | None = None
    written: float | None = None
    operations: float | None = None


def rates(before: job_pb2.Usage | None, now: job_pb2.Usage) -> Rates:
    """Returns the rates between two moments; none without a moment before."""
    elapsed = now.wall_usec - before.wall_usec if before is not None else 0
    if before is None or elapsed <= 0:
        return Rates()
    present = {field.name for field, _ in now.ListFields()}

    def rate(*names: str) -> float | None:
        if not present.issuperset(names):
            return None
        used = sum(int(getattr(now, name)) - int(getattr(before, name)) for name in names)
        return used / elapsed * 1_000_000

    cpu = rate("cpu_user_usec", "cpu_system_usec")
    return Rates(
        cpu=None if cpu is None else cpu / 10_000,
        read=rate("io_read_bytes"),
        written=rate("io_write_bytes"),
        operations=rate("io_read_count", "io_write_count"),
    )
