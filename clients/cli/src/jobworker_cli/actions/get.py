"""`jobworker get`: print one job."""

from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_job
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_client import Client

__all__ = ["get_job"]


async def get_job(client: Client, ref: str, output: Format) -> int:
    """Print a job."""
    print_job(await client.get(await resolve_job_id(client, ref)), output)
    return 0
