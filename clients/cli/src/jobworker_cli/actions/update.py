"""`jobworker update`: the limits that a command line names, and the job for people or programs."""

from dataclasses import asdict

from jobworker.v1 import job_service_pb2
from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_job
from jobworker_cli.settings.connect import resolve
from jobworker_cli.settings.options import LimitOptions
from jobworker_client import Client

__all__ = ["limits_given", "update_job"]


def limits_given(options: LimitOptions) -> bool:
    """Tells whether there is a limit to change."""
    return any(value is not None for value in asdict(options).values())


async def update_job(client: Client, ref: str, options: LimitOptions, output: Format) -> int:
    """Changes the limits that are given, and prints the job."""
    job_id = await resolve(client, ref)
    request = job_service_pb2.UpdateJobRequest(
        id=job_id,
        max_cpu=options.max_cpu,
        max_memory=options.max_memory,
        max_io_bps=options.max_io_bps,
        max_io_iops=options.max_io_iops,
        max_pids=options.max_pids,
        cpu_weight=options.cpu_weight,
        cpu_set=options.cpu_set,
    )
    print_job(await client.update_from(request), output)
    return 0
