"""`jobworker update`: the limits that a command line names, and the job for people or programs."""

from jobworker.v1 import job_service_pb2
from jobworker_cli.actions.limits import limits_of
from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_job
from jobworker_cli.settings.connect import resolve
from jobworker_cli.settings.options import LimitOptions
from jobworker_client import Client

__all__ = ["limits_given", "update_job"]


def limits_given(options: LimitOptions) -> bool:
    """Tells whether there is a limit to change."""
    return bool(limits_of(options))


async def update_job(client: Client, ref: str, options: LimitOptions, output: Format) -> int:
    """Changes the limits that are given, and prints the job."""
    job_id = await resolve(client, ref)
    request = job_service_pb2.UpdateJobRequest(id=job_id, **limits_of(options))
    print_job(await client.update_from(request), output)
    return 0
