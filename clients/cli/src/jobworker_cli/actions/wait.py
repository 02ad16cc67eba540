"""`jobworker wait`: the end of several jobs, waited for at once."""

import asyncio
from typing import TYPE_CHECKING

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.follow import Follower
from jobworker_cli.job_json import print_jobs
from jobworker_cli.output import Format
from jobworker_cli.results import exit_code
from jobworker_cli.views import final_line

if TYPE_CHECKING:
    from jobworker_cli.client import Client

__all__ = ["wait_for_jobs"]


async def wait_for_jobs(client: "Client", refs: list[str], output: Format) -> int:
    """Prints each job as it ends; returns the first exit code, in the order given, that is not 0."""
    # All of them before the first wait: an id that is wrong is told at once, not after an hour.
    job_ids = [await client.resolve(ref) for ref in refs]

    async def wait_for_one(job_id: str) -> job_pb2.Job:
        wanted = job_service_pb2.GetJobsStreamRequest(id=job_id, follow=True, result_only=True)
        job = await Follower(client=client, request=wanted, write=_no_output).run()
        if output is not Format.JSON:
            print(final_line(job), flush=True)
        return job

    ended = await asyncio.gather(*map(wait_for_one, job_ids))
    if output is Format.JSON:
        print_jobs(ended)
    return next((code for code in map(exit_code, ended) if code), 0)


async def _no_output(_message: job_service_pb2.GetJobsStreamResponse) -> None:
    """Takes what a stream with `result_only` never sends."""
