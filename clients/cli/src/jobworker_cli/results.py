"""Exit codes and messages for the end of a job."""

from jobworker.v1 import job_pb2
from jobworker_cli.errors import CliError, CliReason
from jobworker_cli.output import print_message

__all__ = [
    "UNKNOWN",
    "exit_code",
    "has_not_started",
    "is_final",
    "is_queued",
    "print_termination",
    "status_name",
]

# The code of client failures and of jobs without a known result, as in `docker run`.
UNKNOWN = 125

UNKNOWN_CAUSE = "lost: the server or its host died while the job ran, so its result is unknown"

# As in timeout(1).
TIMED_OUT = 124

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


def exit_code(job: job_pb2.Job, *, preserve_status: bool = False) -> int:
    """Return the exit code for the end of the job, as a shell or timeout(1) would.

    This is the exit code of the job, or 128 + N for signal N. It is 124 for a timeout and 125 for an
    eviction, unless `preserve_status`, 125 if the command never ran, and 0 while the job waits or runs.

    Raises:
        CliError: the job is LOST, so its result is unknown.
    """
    if job.status == job_pb2.JOB_STATUS_LOST:
        raise CliError(
            f"job {job.id} is {job.termination.message or UNKNOWN_CAUSE}",
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

    The error that `exit_code` raises for a LOST job has the cause.
    """
    exited = job.termination.reason == job_pb2.TERMINATION_REASON_EXITED
    if is_final(job) and job.status != job_pb2.JOB_STATUS_LOST and not exited:
        print_message(f"jobworker: {job.termination.message or f'the job is {status_name(job)}'}")
