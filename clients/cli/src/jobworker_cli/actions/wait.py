"""`jobworker wait`: the end of several jobs, waited for at once."""

import asyncio

from jobworker.v1 import job_pb2
from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_endings, tell_end
from jobworker_cli.results import exit_code
from jobworker_cli.settings.connect import resolve
from jobworker_cli.stream.follow import Talk
from jobworker_client import Client

__all__ = ["wait_for_jobs"]


async def wait_for_jobs(client: Client, refs: list[str], output: Format, *, preserve_status: bool) -> int:
    """Prints each job as it ends; returns the first exit code, in the order given, that is not 0."""
    # All of them before the first wait: an id that is wrong is told at once, not after an hour.
    job_ids = [await resolve(client, ref) for ref in refs]

    async def wait_for_one(job_id: str) -> job_pb2.Job:
        job = await client.wait(job_id, on_event=Talk(result_only=True))
        tell_end(job, output)
        return job

    ended = await asyncio.gather(*map(wait_for_one, job_ids))
    print_endings(ended, output)
    codes = (exit_code(job, preserve_status=preserve_status) for job in ended)
    return next((code for code in codes if code), 0)
