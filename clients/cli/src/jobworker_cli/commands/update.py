"""`jobworker update`: other limits for a job that runs."""

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import JobRef, LimitOptions, OutputFormat, with_options

__all__ = ["update"]


@with_options(LimitOptions)
def update(
    ctx: typer.Context, job: JobRef, *, options: LimitOptions, output: OutputFormat = Format.TABLE
) -> None:
    """Change limits of a running job (Admin only); those that are not given stay as they are.

    A memory limit below what the job has may end it: out of memory.
    """
    from jobworker_cli.actions.update import limits_given, update_job

    if not limits_given(options):
        raise typer.BadParameter("give at least one limit", param_hint="--max-memory, --max-cpu, ...")
    execute(ctx, lambda client: update_job(client, job, options, output), output=output)
