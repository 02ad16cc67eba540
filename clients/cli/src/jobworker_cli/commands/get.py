"""`jobworker get`: everything about one job."""

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import JobRef, OutputFormat

__all__ = ["get"]


def get(ctx: typer.Context, job: JobRef, output: OutputFormat = Format.TABLE) -> None:
    """Get detailed job information by ID."""
    from jobworker_cli.actions.get import show_job

    execute(ctx, lambda client: show_job(client, job, output), output=output)
