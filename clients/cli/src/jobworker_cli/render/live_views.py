"""Running jobs as they are now, for people: a line a job, or a line a moment."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from jobworker.v1 import job_pb2
from jobworker_cli.output import printable
from jobworker_cli.render.rates import Rates, rates
from jobworker_cli.render.units import duration, size
from jobworker_cli.render.views import command_line, table

__all__ = ["moment", "moment_head", "top_table"]

HEAD = ("CPU", "MEMORY", "READ", "WRITTEN", "OPS", "AGE")
WIDTHS = (8, 19, 13, 13, 8, 0)


def top_table(jobs: Sequence[job_pb2.Job], before: Mapping[str, job_pb2.Usage]) -> str:
    """Returns a table of jobs, those first that use the CPU most; `before` has usages by id."""
    now = [(job, rates(before.get(job.id), job.usage)) for job in jobs]
    now.sort(key=lambda each: each[1].cpu or 0.0, reverse=True)
    rows = [(printable(job.id), *_cells(job, found), command_line(job)) for job, found in now]
    return table([("ID", *HEAD, "COMMAND"), *rows])


def moment_head() -> str:
    """Returns the line above those of `moment`."""
    return _in_columns(HEAD)


def moment(job: job_pb2.Job, before: job_pb2.Usage | None) -> str:
    """Returns one job at one moment, in a line."""
    return _in_columns(_cells(job, rates(before, job.usage)))


def _in_columns(cells: Sequence[str]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True))


def _cells(job: job_pb2.Job, found: Rates) -> tuple[str, ...]:
    usage = job.usage
    return (
        _shown(found.cpu, ".1f", "%"),
        _memory(job) if usage.HasField("memory_current_bytes") else "-",
        "-" if found.read is None else f"{size(round(found.read))}/s",
        "-" if found.written is None else f"{size(round(found.written))}/s",
        _shown(found.operations, ".0f", "/s"),
        duration(timedelta(seconds=usage.wall_usec // 1_000_000)) if usage.HasField("wall_usec") else "-",
    )


def _shown(number: float | None, form: str, unit: str) -> str:
    return "-" if number is None else f"{number:{form}}{unit}"


def _memory(job: job_pb2.Job) -> str:
    enforced = any(limit.limit == "max_memory" and limit.in_force for limit in job.limits_applied)
    limit = size(job.max_memory * 1024 * 1024) if enforced else "no limit"
    return f"{size(job.usage.memory_current_bytes)} / {limit}"
