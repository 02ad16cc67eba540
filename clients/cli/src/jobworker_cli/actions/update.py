"""`jobworker update`: change the given limits and print the job."""

from jobworker.v1 import job_service_pb2
from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_job
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_cli.settings.limit_options import LimitOptions, given_limits
from jobworker_client import Client

__all__ = ["update_job"]


async def update_job(client: Client, ref: str, options: LimitOptions, output: Format) -> int:
    """Change the given limits and print the job."""
    job_id = await resolve_job_id(client, ref)
    limits = given_limits(options)
    request = job_service_pb2.UpdateJobRequest(id=job_id, **limits)  # type: ignore[arg-type]  # see LimitOptions
    print_job(await client.update_from(request), output)
    return 0
