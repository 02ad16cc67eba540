"""`jobworker wait`: wait concurrently for the end of jobs."""

import asyncio

from jobworker.v1 import job_pb2
from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_final_job, print_final_jobs
from jobworker_cli.results import exit_code
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_cli.stream.follow import StderrNotifier
from jobworker_client import Client

__all__ = ["wait_for_jobs"]


async def wait_for_jobs(client: Client, refs: list[str], output: Format, *, preserve_status: bool) -> int:
    """Print each job when it ends; return the first exit code that is not 0, in the order of `refs`."""
    # Resolve all ids first, so that a wrong id is reported at once.
    job_ids = [await resolve_job_id(client, ref) for ref in refs]

    async def wait_for_one(job_id: str) -> job_pb2.Job:
        job = await client.wait(job_id, on_event=StderrNotifier())
        print_final_job(job, output)
        return job

    jobs = await asyncio.gather(*map(wait_for_one, job_ids))
    print_final_jobs(jobs, output)
    codes = (exit_code(job, preserve_status=preserve_status) for job in jobs)
    return next((code for code in codes if code), 0)
