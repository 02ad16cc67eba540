"""`jobworker wait`: wait for the end of jobs."""

import functools

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import JobRefs, OutputFormat, PreserveStatus

__all__ = ["wait"]


def wait(
    ctx: typer.Context,
    jobs: JobRefs,
    *,
    preserve_status: PreserveStatus = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Wait until jobs end.

    Exits with the exit code of the job. With several jobs, exits with the first code that is not 0, in the
    order of the arguments.
    """
    from jobworker_cli.actions.wait import wait_for_jobs

    action = functools.partial(wait_for_jobs, preserve_status=preserve_status)
    execute(ctx, lambda client: action(client, jobs, output), output=output, failure=125)
