"""Current usage of running jobs: a table of jobs, or one line per measurement."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from jobworker.v1 import job_pb2
from jobworker_cli.output import printable
from jobworker_cli.render.limits import applied_limit
from jobworker_cli.render.rates import Rates, usage_rates
from jobworker_cli.render.tables import node_cells, table
from jobworker_cli.render.units import format_duration, format_size
from jobworker_cli.render.views import command_line

__all__ = ["usage_header", "usage_line", "usage_table"]

HEADER = ("CPU", "MEMORY", "READ", "WRITTEN", "OPS", "AGE")
WIDTHS = (8, 19, 13, 13, 8, 0)


def usage_table(jobs: Sequence[job_pb2.Job], previous: Mapping[str, job_pb2.Usage]) -> str:
    """Return a table of jobs, sorted by CPU; `previous` maps job ids to the previous usage."""
    measured = [(job, usage_rates(previous.get(job.id), job.usage)) for job in jobs]
    measured.sort(key=lambda each: each[1].cpu or 0.0, reverse=True)
    node_column, *nodes = node_cells([job for job, _ in measured])
    rows = [
        (printable(job.id), *_columns(job, rates), *node, command_line(job))
        for (job, rates), node in zip(measured, nodes, strict=True)
    ]
    return table([("ID", *HEADER, *node_column, "COMMAND"), *rows])


def usage_header() -> str:
    """Return the header above the lines of `usage_line`."""
    return _align(HEADER)


def usage_line(job: job_pb2.Job, previous: job_pb2.Usage | None) -> str:
    """Return one measurement of one job."""
    return _align(_columns(job, usage_rates(previous, job.usage)))


def _align(columns: Sequence[str]) -> str:
    return "  ".join(f"{column:<{width}}" for column, width in zip(columns, WIDTHS, strict=True))


def _columns(job: job_pb2.Job, rates: Rates) -> tuple[str, ...]:
    usage = job.usage
    return (
        _format_rate(rates.cpu, ".1f", "%"),
        _memory(job) if usage.HasField("memory_current_bytes") else "-",
        "-" if rates.read is None else f"{format_size(round(rates.read))}/s",
        "-" if rates.written is None else f"{format_size(round(rates.written))}/s",
        _format_rate(rates.operations, ".0f", "/s"),
        _age(usage) if usage.HasField("wall_usec") else "-",
    )


def _format_rate(rate: float | None, spec: str, unit: str) -> str:
    return "-" if rate is None else f"{rate:{spec}}{unit}"


def _memory(job: job_pb2.Job) -> str:
    applied = applied_limit(job, job_pb2.LIMIT_MAX_MEMORY)
    in_force = applied is not None and applied.in_force
    limit = format_size(job.max_memory * 1024 * 1024) if in_force else "no limit"
    return f"{format_size(job.usage.memory_current_bytes)} / {limit}"


def _age(usage: job_pb2.Usage) -> str:
    return format_duration(timedelta(seconds=usage.wall_usec // 1_000_000))
