"""Jobs for people: one in detail, or many in a table. Data only; no colour unless on a terminal."""

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta

from jobworker.v1 import job_pb2
from jobworker_cli.output import printable, styled
from jobworker_cli.render.cells import cut, pad, width_of
from jobworker_cli.render.times import age, local_time, since
from jobworker_cli.render.units import duration, size
from jobworker_cli.results import is_final, status_name

__all__ = ["command_line", "final_line", "job_details", "jobs_table", "outcome", "table", "usage_details"]

COLOURS = {"RUNNING": "cyan", "COMPLETED": "green", "FAILED": "red", "LOST": "red", "STOPPED": "yellow"}

COLUMNS = ("ID", "STATUS", "EXIT", "STARTED", "RAN")
WIDE_COLUMNS = ("OWNER", "CPU", "MEMORY", "OUTPUT", "LABELS")

Row = tuple[str, str]


def command_line(job: job_pb2.Job) -> str:
    """Returns the command as a shell would take it."""
    return printable(shlex.join([job.command, *job.args]))


def outcome(job: job_pb2.Job) -> str:
    """Returns the end in a word: the exit code, `SIGKILL`, `oom`, `timeout`, or `-` while there is none."""
    reason = job.termination.reason
    if reason == job_pb2.TERMINATION_REASON_OOM_KILLED:
        return "oom"
    if reason == job_pb2.TERMINATION_REASON_TIMED_OUT:
        return "timeout"
    if job.termination.signal:
        return printable(job.termination.signal_name) or f"signal {job.termination.signal}"
    return str(job.exit_code) if job.HasField("exit_code") else "-"


def final_line(job: job_pb2.Job) -> str:
    """Returns a job's id, status and end in a line."""
    return "  ".join(
        [printable(job.id), status_name(job), printable(job.termination.message) or outcome(job)]
    )


def job_details(job: job_pb2.Job) -> str:
    """Returns everything about a job, a line a fact."""
    return _in_lines([_head(job), _run(job), _limits(job), _isolation(job), _usage(job.usage)])


def usage_details(job: job_pb2.Job) -> str:
    """Returns what a job has used, a line a figure."""
    return _in_lines([_usage(job.usage)])


def _in_lines(sections: Sequence[Sequence[Row]]) -> str:
    width = max((width_of(printable(name)) for section in sections for name, _ in section), default=0)
    return "\n\n".join(
        "\n".join(_line(name, text, width) for name, text in rows) for rows in sections if rows
    )


def _line(name: str, text: str, width: int) -> str:
    shown = printable(text)
    if name == "Status" and text in COLOURS:
        shown = styled(shown, COLOURS[text])
    return f"{pad(printable(name), width)}  {shown}"


def _head(job: job_pb2.Job) -> list[Row]:
    rows = [("Job", job.id), ("Status", status_name(job))]
    if job.HasField("exit_code"):
        rows.append(("Exit code", str(job.exit_code)))
    if job.termination.signal:
        rows.append(("Signal", f"{job.termination.signal_name} ({job.termination.signal})"))
    if job.termination.message:
        rows.append(("Ended because", job.termination.message))
    if job.termination.oom_killed and job.termination.reason != job_pb2.TERMINATION_REASON_OOM_KILLED:
        rows.append(("Out of memory", "processes, which the kernel killed"))
    if job.kill_pending:
        rows.append(("Kill pending", "SIGKILL has no effect; a process waits in the kernel, as for a disk"))
    if job.termination.leftovers_killed:
        rows.append(("Left behind", "processes, which the server killed"))
    return rows


def _run(job: job_pb2.Job) -> list[Row]:
    rows = [("Command", command_line(job)), ("Directory", job.working_directory), *_times(job)]
    if job.pid:
        rows.append(("PID", str(job.pid)))
    if job.HasField("timeout"):
        rows.append(("Timeout", duration(job.timeout.ToTimedelta())))
    if job.stop_signal:
        grace = duration(job.stop_grace_period.ToTimedelta())
        rows.append(("Stopped with", f"{job.stop_signal}, after {grace} SIGKILL"))
    rows.append(("Owner", job.owner))
    if job.labels:
        rows.append(("Labels", ", ".join(f"{key}={job.labels[key]}" for key in sorted(job.labels))))
    rows.append(("Output", size(job.log_size)))
    return [(name, text) for name, text in rows if text]


def _times(job: job_pb2.Job) -> Iterator[Row]:
    if job.HasField("create_time"):
        yield "Created", local_time(job.create_time)
    if job.HasField("start_time"):
        yield "Started", f"{local_time(job.start_time)}, {age(job.start_time)}"
    if job.HasField("end_time"):
        ran = f", after {_ran(job)}" if job.HasField("start_time") else ""
        yield "Ended", f"{local_time(job.end_time)}{ran}"


def _ran(job: job_pb2.Job) -> str:
    if job.usage.HasField("wall_usec"):  # true even if the clock was set meanwhile
        return _usec(job.usage.wall_usec)
    return duration(since(job.start_time, job.end_time if is_final(job) else None))


def _limits(job: job_pb2.Job) -> list[Row]:
    asked = {
        "max_cpu": ("CPU limit", f"{job.max_cpu}% of one core"),
        "max_memory": ("Memory limit", size(job.max_memory * 1024 * 1024)),
        "max_io_bps": ("I/O limit", f"{size(job.max_io_bps)}/s" if job.max_io_bps else "none"),
        "max_pids": ("Process limit", str(job.max_pids) if job.max_pids else "none"),
    }
    if job.max_io_iops:
        asked["max_io_iops"] = ("I/O ops limit", f"{job.max_io_iops}/s")
    if job.cpu_weight:
        asked["cpu_weight"] = ("CPU weight", str(job.cpu_weight))
    if job.cpu_set:
        asked["cpu_set"] = ("Cores", job.cpu_set)
    applied = {limit.limit: limit for limit in job.limits_applied}
    rows = [(name, f"{text}{_in_force(applied.get(limit))}") for limit, (name, text) in asked.items()]
    rows += [
        (limit.limit.replace("_", " ").capitalize(), _in_force(limit).removeprefix(", "))
        for limit in job.limits_applied
        if limit.limit not in asked
    ]
    return rows + _lifted(job)


def _lifted(job: job_pb2.Job) -> list[Row]:
    if not job.HasField("memory_high_lift_time"):
        return []
    return [("Memory warning", f"memory.high lifted at {local_time(job.memory_high_lift_time)}")]


def _in_force(limit: job_pb2.AppliedLimit | None) -> str:
    if limit is None:
        return ""
    if not limit.in_force:
        return f", not in force: {limit.reason}"
    evidence = ": ".join(part for part in (limit.file, limit.value) if part)
    return f", in force ({evidence})" if evidence else ", in force"


def _isolation(job: job_pb2.Job) -> list[Row]:
    return [(part.part.replace("_", " ").capitalize(), _isolated(part)) for part in job.isolation_applied]


def _isolated(part: job_pb2.AppliedIsolation) -> str:
    state = "in force" if part.in_force else f"not in force: {part.reason}"
    return f"{part.value}, {state}" if part.value else state


def _usage(usage: job_pb2.Usage) -> list[Row]:
    measured = (
        ("wall_usec", "Wall time", _usec),
        ("cpu_user_usec", "CPU user", _usec),
        ("cpu_system_usec", "CPU system", _usec),
        ("cpu_throttled_usec", "CPU throttled", _usec),
        ("cpu_pressure_some_usec", "Waited for CPU", _usec),
        ("memory_current_bytes", "Memory now", size),
        ("memory_peak_bytes", "Memory peak", size),
        ("memory_high_count", "Slowed at 90%", _times_over),
        ("memory_pressure_some_usec", "Waited for memory", _usec),
        ("io_read_bytes", "I/O read", size),
        ("io_write_bytes", "I/O written", size),
        ("io_pressure_some_usec", "Waited for I/O", _usec),
        ("pids_peak_count", "Process peak", str),
        ("pids_denied_count", "Forks refused", _times_over),
        ("oom_kill_count", "OOM kills", str),
    )
    present = {field.name: value for field, value in usage.ListFields()}
    return [(name, show(present[field])) for field, name, show in measured if field in present]


def _times_over(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _usec(count: int) -> str:
    return duration(timedelta(microseconds=count))


def jobs_table(jobs: Sequence[job_pb2.Job], *, wide: bool = False) -> str:
    """Returns a table with a line a job, cut to the terminal's width if stdout is one.

    A wide one has also whose the job is, its limits, its output's size and its labels, and is not cut.
    """
    head = (*COLUMNS, *(WIDE_COLUMNS if wide else ()), "COMMAND")
    rows = [head, *((*_cells(job), *(_wide_cells(job) if wide else ()), command_line(job)) for job in jobs)]
    return table(rows, whole=wide)


def table(rows: Sequence[tuple[str, ...]], *, whole: bool = False) -> str:
    """Returns rows in columns; if stdout is a terminal, no line is longer than it is wide unless `whole`."""
    *widths, _ = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() and not whole else sys.maxsize
    return "\n".join(_table_line(row, widths, room) for row in rows)


def _cells(job: job_pb2.Job) -> tuple[str, ...]:
    started = job.HasField("start_time")
    return (
        printable(job.id),
        status_name(job),
        outcome(job),
        age(job.start_time) if started else "-",
        _ran(job) if started else "-",
    )


def _wide_cells(job: job_pb2.Job) -> tuple[str, ...]:
    labels = ",".join(f"{key}={job.labels[key]}" for key in sorted(job.labels))
    return (
        printable(job.owner) or "-",
        f"{job.max_cpu}%",
        size(job.max_memory * 1024 * 1024),
        size(job.log_size),
        printable(labels) or "-",
    )


def _table_line(row: tuple[str, ...], widths: Sequence[int], room: int) -> str:
    shown = []
    for number, (cell, width) in enumerate(zip(row, [*widths, 0], strict=True)):
        if room <= 0:
            break
        text = pad(cut(cell, room), width)
        shown.append(styled(text, COLOURS[cell]) if number == 1 and cell in COLOURS else text)
        room -= width + 2
    return "  ".join(shown).rstrip()
