"""`jobworker delete`: delete jobs concurrently and print their ids."""

import asyncio

from jobworker_cli.errors import CliError, print_error
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_client import Client, JobWorkerError

__all__ = ["delete_jobs"]


async def delete_jobs(client: Client, refs: list[str]) -> int:
    """Delete the jobs; a failure does not affect the other jobs, and the exit code is then 1."""

    async def delete_one(ref: str) -> None:
        job_id = await resolve_job_id(client, ref)
        await client.delete(job_id)
        print(job_id, flush=True)

    exit_code = 0
    for result in await asyncio.gather(*map(delete_one, refs), return_exceptions=True):
        if isinstance(result, CliError | JobWorkerError):
            print_error(result if isinstance(result, CliError) else to_cli_error(result), as_json=False)
            exit_code = 1
        elif result is not None:
            raise result
    return exit_code
