"""`jobworker get`: one job for people or programs."""

from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_job
from jobworker_cli.settings.connect import resolve
from jobworker_client import Client

__all__ = ["show_job"]


async def show_job(client: Client, ref: str, output: Format) -> int:
    """Prints a job."""
    print_job(await client.get(await resolve(client, ref)), output)
    return 0
