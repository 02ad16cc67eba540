"""`jobworker wait`: wait for the end of jobs."""

import typer

from jobworker_cli.context import execute
from jobworker_cli.options import JobRefs, OutputFormat
from jobworker_cli.output import Format

__all__ = ["wait"]


def wait(ctx: typer.Context, jobs: JobRefs, output: OutputFormat = Format.TABLE) -> None:
    """Wait for jobs to end.

    Exits with the exit code of the job; of several, with that of the first, in the order given, that is
    not 0.
    """
    from jobworker_cli.actions.wait import wait_for_jobs

    execute(ctx, lambda client: wait_for_jobs(client, jobs, output), output=output, failure=125)
