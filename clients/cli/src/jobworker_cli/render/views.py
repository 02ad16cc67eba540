"""Text about one job: all fields, the usage, or one line."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from jobworker.v1 import job_pb2
from jobworker_cli.output import printable, styled
from jobworker_cli.render.limits import Row, isolation_rows, limit_rows
from jobworker_cli.render.text_width import pad, text_width
from jobworker_cli.render.times import elapsed, format_age, local_time
from jobworker_cli.render.units import format_duration, format_size
from jobworker_cli.results import TIMEOUTS, is_final, status_name

__all__ = [
    "COLOURS",
    "command_line",
    "final_line",
    "job_details",
    "outcome",
    "queue_line",
    "run_time",
    "usage_details",
]

COLOURS = {
    "QUEUED": "blue",
    "RUNNING": "cyan",
    "COMPLETED": "green",
    "FAILED": "red",
    "LOST": "red",
    "STOPPED": "yellow",
}


def command_line(job: job_pb2.Job) -> str:
    """Return the command, quoted for a shell."""
    return printable(shlex.join([job.command, *job.args]))


def outcome(job: job_pb2.Job) -> str:
    """Return the result in one word: an exit code, `SIGKILL`, `oom`, `timeout`, `evicted`, or `-`."""
    reason = job.termination.reason
    if reason == job_pb2.TERMINATION_REASON_OOM_KILLED:
        return "oom"
    if reason in TIMEOUTS:
        return "timeout"
    if reason == job_pb2.TERMINATION_REASON_EVICTED:
        return "evicted"
    if job.termination.signal:
        return printable(job.termination.signal_name) or f"signal {job.termination.signal}"
    return str(job.exit_code) if job.HasField("exit_code") else "-"


def final_line(job: job_pb2.Job) -> str:
    """Return the id, the status and the result of a job in one line."""
    return "  ".join(
        [printable(job.id), status_name(job), printable(job.termination.message) or outcome(job)]
    )


def queue_line(job: job_pb2.Job) -> str:
    """Return the position of a queued job and the reason of the wait, as far as the server knows them."""
    place = f"position {job.queue_position} in the queue" if job.queue_position else "in the queue"
    return f"{place}: {printable(job.queue_reason)}" if job.queue_reason else place


def job_details(job: job_pb2.Job) -> str:
    """Return all fields of a job, one per line."""
    limits = [*limit_rows(job), *_memory_warning(job)]
    return _sections([_result(job), _run(job), limits, [*isolation_rows(job)], _usage(job.usage)])


def usage_details(job: job_pb2.Job) -> str:
    """Return the total usage of a job, one value per line."""
    return _sections([_usage(job.usage)])


def _sections(sections: Sequence[Sequence[Row]]) -> str:
    width = max((text_width(printable(name)) for section in sections for name, _ in section), default=0)
    return "\n\n".join(
        "\n".join(_line(name, text, width) for name, text in rows) for rows in sections if rows
    )


def _line(name: str, text: str, width: int) -> str:
    shown = printable(text)
    if name == "Status" and text in COLOURS:
        shown = styled(shown, COLOURS[text])
    return f"{pad(printable(name), width)}  {shown}"


def _result(job: job_pb2.Job) -> list[Row]:
    rows = [("Job", job.id), ("Status", status_name(job))]
    if job.queue_position:
        rows += [("Position", str(job.queue_position)), ("Waits because", job.queue_reason)]
    if job.node:
        rows.append(("Node", job.node))
    if job.attempt > 1:
        rows.append(("Attempt", str(job.attempt)))
    if job.HasField("exit_code"):
        rows.append(("Exit code", str(job.exit_code)))
    if job.termination.signal:
        rows.append(("Signal", f"{job.termination.signal_name} ({job.termination.signal})"))
    if job.termination.message:
        rows.append(("Ended because", job.termination.message))
    if job.termination.oom_killed and job.termination.reason != job_pb2.TERMINATION_REASON_OOM_KILLED:
        rows.append(("Out of memory", "the kernel killed processes of the job"))
    if job.kill_pending:
        rows.append(
            ("Kill pending", "SIGKILL is pending; a process is blocked in the kernel, for example on a disk")
        )
    if job.termination.leftovers_killed:
        rows.append(("Left behind", "the server killed processes that outlived the command"))
    return rows


def _run(job: job_pb2.Job) -> list[Row]:
    rows = [("Command", command_line(job)), ("Directory", job.working_directory), *_times(job)]
    if job.pid:
        rows.append(("PID", str(job.pid)))
    if job.HasField("queue_timeout"):
        rows.append(("Queue timeout", format_duration(job.queue_timeout.ToTimedelta())))
    if job.priority:
        rows.append(("Priority", str(job.priority)))
    rows += _placement(job)
    if job.HasField("timeout"):
        rows.append(("Timeout", format_duration(job.timeout.ToTimedelta())))
    if job.stop_signal:
        grace = format_duration(job.stop_grace_period.ToTimedelta())
        rows.append(("Stopped with", f"{job.stop_signal}, after {grace} SIGKILL"))
    rows.append(("Owner", job.owner))
    rows.append(("Labels", _pairs(job.labels)))
    rows.append(("Output", format_size(job.log_size)))
    return [(name, text) for name, text in rows if text]


def _placement(job: job_pb2.Job) -> Iterator[Row]:
    yield "Queue", job.queue
    yield "Node selector", _pairs(job.node_selector)
    if job.retry_on_lost:
        yield "If lost", "the cluster starts the job again"


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={values[key]}" for key in sorted(values))


def _times(job: job_pb2.Job) -> Iterator[Row]:
    if job.HasField("create_time"):
        yield "Created", local_time(job.create_time)
    if job.HasField("start_time"):
        yield "Started", f"{local_time(job.start_time)}, {format_age(job.start_time)}"
    if job.HasField("end_time"):
        ran = f", after {run_time(job)}" if job.HasField("start_time") else ""
        yield "Ended", f"{local_time(job.end_time)}{ran}"


def run_time(job: job_pb2.Job) -> str:
    """Return how long the job has run."""
    if job.usage.HasField("wall_usec"):  # unaffected by changes of the clock
        return _usec(job.usage.wall_usec)
    return format_duration(elapsed(job.start_time, job.end_time if is_final(job) else None))


def _memory_warning(job: job_pb2.Job) -> Iterator[Row]:
    if job.HasField("memory_high_lift_time"):
        yield "Memory warning", f"memory.high lifted at {local_time(job.memory_high_lift_time)}"


def _usage(usage: job_pb2.Usage) -> list[Row]:
    measured = (
        ("wall_usec", "Wall time", _usec),
        ("cpu_user_usec", "CPU user", _usec),
        ("cpu_system_usec", "CPU system", _usec),
        ("cpu_throttled_usec", "CPU throttled", _usec),
        ("cpu_pressure_some_usec", "Waited for CPU", _usec),
        ("memory_current_bytes", "Memory now", format_size),
        ("memory_peak_bytes", "Memory peak", format_size),
        ("memory_high_count", "Slowed at 90%", _count),
        ("memory_pressure_some_usec", "Waited for memory", _usec),
        ("io_read_bytes", "I/O read", format_size),
        ("io_write_bytes", "I/O written", format_size),
        ("io_pressure_some_usec", "Waited for I/O", _usec),
        ("scratch_bytes", "Scratch", format_size),
        ("pids_peak_count", "Process peak", str),
        ("pids_denied_count", "Forks refused", _count),
        ("oom_kill_count", "OOM kills", str),
    )
    present = {field.name: value for field, value in usage.ListFields()}
    return [(name, show(present[field])) for field, name, show in measured if field in present]


def _count(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _usec(count: int) -> str:
    return format_duration(timedelta(microseconds=count))
