"""`jobworker wait`: wait for the end of jobs."""

import functools

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import JobRefs, OutputFormat, PreserveStatus

__all__ = ["wait"]


def wait(
    ctx: typer.Context,
    jobs: JobRefs,
    *,
    preserve_status: PreserveStatus = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Wait for jobs to end.

    Exits with the exit code of the job; of several, with that of the first, in the order given, that is
    not 0.
    """
    from jobworker_cli.actions.wait import wait_for_jobs

    waiting = functools.partial(wait_for_jobs, preserve_status=preserve_status)
    execute(ctx, lambda client: waiting(client, jobs, output), output=output, failure=125)
