"""`jobworker create`: start a job and print it."""

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.invocation import execute
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
    """Create and start a job (Admin only).

    With --queue, the job starts later if the server has no room for it now.

    Options end at the first word of the command. All words after it belong to the command.
    """
    from jobworker_cli.actions.create import create_and_print, create_request

    request = create_request(command, options)
    output = Format.ID if quiet else output
    execute(ctx, lambda client: create_and_print(client, request, output), output=output)
