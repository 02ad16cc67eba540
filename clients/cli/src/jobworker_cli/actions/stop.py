"""`jobworker stop`: the end of jobs, all at once, and how each of them ended."""

import asyncio
from datetime import timedelta

from jobworker.v1 import job_pb2
from jobworker_cli.errors import CliError, report
from jobworker_cli.output import Format
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.render.formats import print_endings, tell_end
from jobworker_cli.settings.connect import resolve
from jobworker_client import Client, JobWorkerError

__all__ = ["stop_jobs"]


async def stop_jobs(client: Client, refs: list[str], grace: timedelta | None, output: Format) -> int:
    """Stops all that can be stopped; the exit code is 1 if there was one that could not."""

    async def stop_one(ref: str) -> job_pb2.Job:
        job = await client.stop(await resolve(client, ref), grace_period=grace)
        tell_end(job, output)
        return job

    results = await asyncio.gather(*map(stop_one, refs), return_exceptions=True)
    stopped, failed = [], 0
    for result in results:
        if isinstance(result, CliError | JobWorkerError):
            known = result if isinstance(result, CliError) else to_cli_error(result)
            report(known, as_json=output.is_json)
            failed = 1
        elif isinstance(result, BaseException):
            raise result
        else:
            stopped.append(result)
    print_endings(stopped, output)
    return failed
