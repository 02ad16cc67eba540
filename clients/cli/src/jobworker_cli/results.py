"""Exit codes and messages for the end of a job."""

from collections.abc import Mapping
from types import MappingProxyType

from jobworker.v1 import job_pb2
from jobworker_cli.errors import CliError, CliReason
from jobworker_cli.output import print_message
from jobworker_client import ErrorReason
from jobworker_client.errors import reason_name

__all__ = [
    "START_HINTS",
    "UNKNOWN",
    "command_error_code",
    "exit_code",
    "has_not_started",
    "is_final",
    "is_queued",
    "print_termination",
    "status_name",
]

# The code of client failures and of jobs without a known result, as in `docker run`.
UNKNOWN = 125

UNKNOWN_CAUSE = "the server or its host died while the job ran, so its result is unknown"

# As in timeout(1).
TIMED_OUT = 124

# As in shells that cannot run a command (POSIX, "Exit Status for Commands"), and in `docker run`.
NOT_EXECUTABLE = 126
NOT_FOUND = 127

START_HINTS: Mapping[ErrorReason.ValueType, str] = MappingProxyType(
    {
        ErrorReason.ERROR_REASON_COMMAND_NOT_STARTED: "the job uses the files of its host and its own "
        "private directories; the server looks up a command name in the PATH of the job (--env PATH=...)",
        ErrorReason.ERROR_REASON_LIMIT_UNAVAILABLE: "use --best-effort to run the job without the limit; "
        "`jobworkerd doctor` on the host of the job shows the missing requirements",
    }
)
"""Remedies for errors of the start of a job."""

UNSTARTED = (job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_INITIALIZING)
UNFINISHED = (*UNSTARTED, job_pb2.JOB_STATUS_RUNNING)

TIMEOUTS = (job_pb2.TERMINATION_REASON_TIMED_OUT, job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT)


def status_name(job: job_pb2.Job) -> str:
    """Return the status without its prefix, such as `RUNNING`."""
    try:
        name = job_pb2.JobStatus.Name(job.status)
    except ValueError:  # a status of a newer server
        return str(job.status)
    return name.removeprefix("JOB_STATUS_")


def is_final(job: job_pb2.Job) -> bool:
    """Tell whether the job has ended."""
    return job.status not in UNFINISHED


def is_queued(job: job_pb2.Job) -> bool:
    """Tell whether the job waits in the queue."""
    return job.status == job_pb2.JOB_STATUS_QUEUED


def has_not_started(job: job_pb2.Job) -> bool:
    """Tell whether the command of the job has yet to start. The host of a job of a cluster starts it last."""
    return job.status in UNSTARTED


def command_error_code(field: str, errno_name: str) -> int:
    """Return the exit code for a command that cannot be executed, because of a field of the request."""
    if field != "command":
        # A missing working directory is not a missing command: 125, as in `env -C`.
        return UNKNOWN
    return NOT_FOUND if errno_name == "ENOENT" else NOT_EXECUTABLE


def _start_error(termination: job_pb2.Termination) -> CliError:
    """Return the error that `create` prints for a job that does not wait in the queue."""
    error = termination.start_error
    converted = CliError(
        termination.message,
        hint=START_HINTS.get(error.reason, ""),
        reason=reason_name(error.reason) if error.reason in ErrorReason.values() else "",
        exit_code=UNKNOWN,
    )
    if error.reason == ErrorReason.ERROR_REASON_COMMAND_NOT_STARTED:
        converted.metadata = {"errno": error.errno_name}
        converted.exit_code = command_error_code(error.field, error.errno_name)
    return converted


def exit_code(job: job_pb2.Job, *, preserve_status: bool = False) -> int:
    """Return the exit code for the end of the job, as a shell or timeout(1) would.

    This is the exit code of the job, or 128 + N for signal N. It is 124 for a timeout and 125 for an
    eviction, unless `preserve_status`, 125 if the command never ran, and 0 while the job waits or runs.

    Raises:
        CliError: the job is LOST, so its result is unknown, or it could not start.
    """
    if job.termination.HasField("start_error"):
        raise _start_error(job.termination)
    if job.status == job_pb2.JOB_STATUS_LOST:
        raise CliError(
            f"job {job.id} is lost: {job.termination.message.removeprefix('lost: ') or UNKNOWN_CAUSE}",
            reason=CliReason.JOB_LOST,
            exit_code=UNKNOWN,
        )
    if job.termination.reason in TIMEOUTS and not preserve_status:
        return TIMED_OUT
    # The command may handle the stop signal and exit with 0, but the cluster did not let it finish.
    if job.termination.reason == job_pb2.TERMINATION_REASON_EVICTED and not preserve_status:
        return UNKNOWN
    if is_final(job) and not job.HasField("exit_code") and not job.termination.signal:
        return UNKNOWN
    return 128 + job.termination.signal if job.termination.signal else job.exit_code


def print_termination(job: job_pb2.Job) -> None:
    """Print to stderr why the job ended, unless it exited by itself or still runs.

    The error that `exit_code` raises for some jobs has the cause.
    """
    exited = job.termination.reason == job_pb2.TERMINATION_REASON_EXITED
    raised = job.status == job_pb2.JOB_STATUS_LOST or job.termination.HasField("start_error")
    if is_final(job) and not raised and not exited:
        print_message(f"jobworker: {job.termination.message or f'the job is {status_name(job)}'}")
