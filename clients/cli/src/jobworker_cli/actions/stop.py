"""`jobworker stop`: the end of jobs, all at once, and how each of them ended."""

import asyncio
from datetime import timedelta

from jobworker.v1 import job_pb2
from jobworker_cli.connect import resolve
from jobworker_cli.errors import CliError, report
from jobworker_cli.explain import explained
from jobworker_cli.job_json import print_jobs
from jobworker_cli.output import Format
from jobworker_cli.views import final_line
from jobworker_client import Client, JobWorkerError

__all__ = ["stop_jobs"]


async def stop_jobs(client: Client, refs: list[str], grace: timedelta | None, output: Format) -> int:
    """Stops all that can be stopped; the exit code is 1 if there was one that could not."""

    async def stop_one(ref: str) -> job_pb2.Job:
        job = await client.stop(await resolve(client, ref), grace_period=grace)
        if output is not Format.JSON:
            print(final_line(job), flush=True)
        return job

    results = await asyncio.gather(*map(stop_one, refs), return_exceptions=True)
    stopped, failed = [], 0
    for result in results:
        if isinstance(result, CliError | JobWorkerError):
            known = result if isinstance(result, CliError) else explained(result)
            report(known, as_json=output is Format.JSON)
            failed = 1
        elif isinstance(result, BaseException):
            raise result
        else:
            stopped.append(result)
    if output is Format.JSON:
        print_jobs(stopped)
    return failed
