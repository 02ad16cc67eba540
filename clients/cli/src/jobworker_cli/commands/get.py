"""`jobworker get`: everything about one job."""

from typing import TYPE_CHECKING

import typer

from jobworker_cli.context import execute
from jobworker_cli.options import JobRef, OutputFormat
from jobworker_cli.output import Format, print_job_json
from jobworker_cli.views import job_details

if TYPE_CHECKING:
    from jobworker_cli.client import Client

__all__ = ["get"]


def get(ctx: typer.Context, job: JobRef, output: OutputFormat = Format.TABLE) -> None:
    """Get detailed job information by ID."""
    execute(ctx, lambda client: _get(client, job, output), output=output)


async def _get(client: "Client", ref: str, output: Format) -> int:
    job = await client.get(await client.resolve(ref))
    if output is Format.JSON:
        print_job_json(job)
    else:
        print(job_details(job))
    return 0
