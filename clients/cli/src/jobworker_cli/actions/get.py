"""`jobworker get`: one job for people or programs."""

from jobworker_cli.connect import resolve
from jobworker_cli.job_json import print_job
from jobworker_cli.output import Format
from jobworker_cli.views import job_details
from jobworker_client import Client

__all__ = ["show_job"]


async def show_job(client: Client, ref: str, output: Format) -> int:
    """Prints a job."""
    job = await client.get(await resolve(client, ref))
    if output is Format.JSON:
        print_job(job)
    else:
        print(job_details(job))
    return 0
