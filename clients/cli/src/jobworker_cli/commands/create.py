"""`jobworker create`: start a job and print it."""

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import Command, JobOptions, OutputFormat, Quiet, with_options

__all__ = ["create"]


@with_options(JobOptions)
def create(
    ctx: typer.Context,
    command: Command,
    *,
    options: JobOptions,
    quiet: Quiet = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Create and start a new job (Admin only).

    Options end at the command's first word: what follows is the command's own.
    """
    from jobworker_cli.actions.create import create_job, new_request

    request = new_request(command, options)
    form = Format.ID if quiet else output
    execute(ctx, lambda client: create_job(client, request, form), output=form)
