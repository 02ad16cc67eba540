"""`jobworker update`: change limits of a running job."""

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.limit_options import given_limits
from jobworker_cli.settings.options import JobRef, LimitOptions, OutputFormat, with_options

__all__ = ["update"]


@with_options(LimitOptions)
def update(
    ctx: typer.Context, job: JobRef, *, options: LimitOptions, output: OutputFormat = Format.TABLE
) -> None:
    """Change limits of a running job (Admin only). Omitted limits do not change.

    A memory limit below the current memory of the job can end the job as out of memory.
    """
    from jobworker_cli.actions.update import update_job

    if not given_limits(options):
        raise typer.BadParameter(
            "no limit is given; use at least one", param_hint="--max-memory, --max-cpu, ..."
        )
    execute(ctx, lambda client: update_job(client, job, options, output), output=output)
