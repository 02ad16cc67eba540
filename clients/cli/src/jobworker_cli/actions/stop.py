"""`jobworker stop`: stop jobs concurrently and print their results."""

import asyncio
from datetime import timedelta

from jobworker.v1 import job_pb2
from jobworker_cli.errors import CliError, print_error
from jobworker_cli.output import Format
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.render.formats import print_final_job, print_final_jobs
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_client import Client, JobWorkerError

__all__ = ["stop_jobs"]


async def stop_jobs(client: Client, refs: list[str], grace_period: timedelta | None, output: Format) -> int:
    """Stop the jobs; a failure does not affect the other jobs, and the exit code is then 1."""

    async def stop_one(ref: str) -> job_pb2.Job:
        job = await client.stop(await resolve_job_id(client, ref), grace_period=grace_period)
        print_final_job(job, output)
        return job

    results = await asyncio.gather(*map(stop_one, refs), return_exceptions=True)
    stopped, exit_code = [], 0
    for result in results:
        if isinstance(result, CliError | JobWorkerError):
            error = result if isinstance(result, CliError) else to_cli_error(result)
            print_error(error, as_json=output.is_json)
            exit_code = 1
        elif isinstance(result, BaseException):
            raise result
        else:
            stopped.append(result)
    print_final_jobs(stopped, output)
    return exit_code
