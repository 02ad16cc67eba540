"""`jobworker get`: show one job."""

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import JobRef, OutputFormat

__all__ = ["get"]


def get(ctx: typer.Context, job: JobRef, output: OutputFormat = Format.TABLE) -> None:
    """Show all fields of a job."""
    from jobworker_cli.actions.get import get_job

    execute(ctx, lambda client: get_job(client, job, output), output=output)
