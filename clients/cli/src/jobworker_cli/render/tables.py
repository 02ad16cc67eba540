"""Tables of jobs that fit the width of the terminal."""

import shutil
import sys
from collections.abc import Sequence

from jobworker.v1 import job_pb2
from jobworker_cli.output import printable, styled
from jobworker_cli.render.text_width import pad, shorten, text_width
from jobworker_cli.render.times import format_age
from jobworker_cli.render.units import format_size
from jobworker_cli.render.views import COLOURS, command_line, outcome, run_time
from jobworker_cli.results import is_final, status_name

__all__ = ["jobs_table", "node_cells", "queue_table", "table"]

COLUMNS = ("ID", "STATUS", "EXIT", "STARTED", "RAN")
WIDE_COLUMNS = ("OWNER", "CPU", "MEMORY", "OUTPUT", "LABELS")
QUEUE_COLUMNS = ("POSITION", "ID", "OWNER", "PRIORITY", "WAITING", "REASON", "COMMAND")


def jobs_table(jobs: Sequence[job_pb2.Job], *, wide: bool = False) -> str:
    """Return a table with one line per job, cut to the width of the terminal.

    A wide table adds the owner, the limits, the size of the output and the labels, and is not cut.
    """
    node_column, *nodes = node_cells(jobs)
    header = (*COLUMNS, *node_column, *(WIDE_COLUMNS if wide else ()), "COMMAND")
    rows = [
        (*_columns(job), *node, *(_wide_columns(job) if wide else ()), command_line(job))
        for job, node in zip(jobs, nodes, strict=True)
    ]
    return table([header, *rows], cut=not wide)


def node_cells(jobs: Sequence[job_pb2.Job]) -> list[tuple[str, ...]]:
    """Return the column with the nodes, its header first. The cells are empty tuples if no job has a node."""
    if not any(job.node for job in jobs):
        return [(), *(() for _ in jobs)]
    return [("NODE",), *((printable(job.node) or "-",) for job in jobs)]


def queue_table(jobs: Sequence[job_pb2.Job], *, wide: bool = False) -> str:
    """Return a table of queued jobs, cut to the width of the terminal unless it is wide."""
    return table([QUEUE_COLUMNS, *map(_queue_row, jobs)], cut=not wide)


def _queue_row(job: job_pb2.Job) -> tuple[str, ...]:
    return (
        str(job.queue_position or "-"),
        printable(job.id),
        printable(job.owner) or "-",
        str(job.priority),
        format_age(job.create_time).removesuffix(" ago"),
        printable(job.queue_reason) or "-",
        command_line(job),
    )


def table(rows: Sequence[tuple[str, ...]], *, cut: bool = True) -> str:
    """Align rows in columns; with `cut`, lines fit the terminal if stdout is one."""
    *widths, _ = [max(map(text_width, column)) for column in zip(*rows, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() and cut else sys.maxsize
    return "\n".join(_line(row, widths, room) for row in rows)


def _line(row: tuple[str, ...], widths: Sequence[int], room: int) -> str:
    cells = []
    for number, (cell, width) in enumerate(zip(row, [*widths, 0], strict=True)):
        if room <= 0:
            break
        text = pad(shorten(cell, room), width)
        cells.append(styled(text, COLOURS[cell]) if number == 1 and cell in COLOURS else text)
        room -= width + 2
    return "  ".join(cells).rstrip()


def _columns(job: job_pb2.Job) -> tuple[str, ...]:
    started = job.HasField("start_time")
    return (
        printable(job.id),
        status_name(job),
        outcome(job),
        format_age(job.start_time) if started else "-",
        run_time(job) if started else "-",
    )


def _wide_columns(job: job_pb2.Job) -> tuple[str, ...]:
    labels = ",".join(f"{key}={job.labels[key]}" for key in sorted(job.labels))
    return (
        printable(job.owner) or "-",
        f"{job.max_cpu}%",
        format_size(job.max_memory * 1024 * 1024),
        _output(job),
        printable(labels) or "-",
    )


def _output(job: job_pb2.Job) -> str:
    """Return the size of the output. The lists of a gateway do not have that of a job that runs on a node."""
    return "-" if job.node and not is_final(job) else format_size(job.log_size)
