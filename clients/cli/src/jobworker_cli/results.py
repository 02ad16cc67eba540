"""What a job's end means to the shell that waits for it."""

from jobworker.v1 import job_pb2
from jobworker_cli.errors import CliError
from jobworker_cli.output import say

__all__ = ["exit_code", "is_final", "status_name", "tell_ending"]

# The code of the client's own failures and of jobs whose end nobody knows, as of `docker run`.
UNKNOWN = 125

# As of timeout(1).
TIMED_OUT = 124

UNFINISHED = (job_pb2.JOB_STATUS_INITIALIZING, job_pb2.JOB_STATUS_RUNNING)


def status_name(job: job_pb2.Job) -> str:
    """Returns the status without its prefix: `RUNNING`."""
    try:
        name = job_pb2.JobStatus.Name(job.status)
    except ValueError:  # a newer server knows more of them
        return str(job.status)
    return name.removeprefix("JOB_STATUS_")


def is_final(job: job_pb2.Job) -> bool:
    """Tells whether the job has ended."""
    return job.status not in UNFINISHED


def exit_code(job: job_pb2.Job, *, preserve_status: bool = False) -> int:
    """Returns the exit code that stands for the job's end, as a shell or timeout(1) has it.

    The command's own code, or 128 + N if signal N ended it; 124 if the job ran into its timeout, unless
    `preserve_status`; 0 if it still runs.

    Raises:
        CliError: the job is LOST, so that its end is not known.
    """
    if job.status == job_pb2.JOB_STATUS_LOST:
        raise CliError(
            f"the server died while job {job.id} ran; what became of it is not known",
            reason="JOB_LOST",
            exit_code=UNKNOWN,
        )
    if job.termination.reason == job_pb2.TERMINATION_REASON_TIMED_OUT and not preserve_status:
        return TIMED_OUT
    return 128 + job.termination.signal if job.termination.signal else job.exit_code


def tell_ending(job: job_pb2.Job) -> None:
    """Says on stderr why the job ended, unless it just exited or has not ended."""
    if is_final(job) and job.termination.reason != job_pb2.TERMINATION_REASON_EXITED:
        say(f"jobworker: {job.termination.message or f'the job is {status_name(job)}'}")
