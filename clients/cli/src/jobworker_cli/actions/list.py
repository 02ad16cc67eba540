"""`jobworker list`: jobs of as many pages as there are, for people or programs."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.job_json import print_jobs
from jobworker_cli.options import key_values
from jobworker_cli.output import Format
from jobworker_cli.views import jobs_table

if TYPE_CHECKING:
    from jobworker_cli.client import Client

__all__ = ["collect", "list_request", "show_jobs"]

PAGE_SIZE = 500


def list_request(statuses: Iterable[str], labels: Iterable[str]) -> job_service_pb2.ListJobsRequest:
    """Returns the request for jobs with one of the statuses (`RUNNING`) and all of the labels."""
    return job_service_pb2.ListJobsRequest(
        statuses=[job_pb2.JobStatus.Value(f"JOB_STATUS_{status}") for status in statuses],
        labels=key_values(labels, "--label"),
    )


async def show_jobs(
    client: "Client",
    request: job_service_pb2.ListJobsRequest,
    limit: int | None,
    output: Format,
    *,
    quiet: bool,
) -> int:
    """Prints the jobs that fit the request, up to `limit`."""
    jobs = await collect(client, request, limit)
    if quiet:
        for job in jobs:
            print(job.id)
    elif output is Format.JSON:
        print_jobs(jobs)
    else:
        print(jobs_table(jobs))
    return 0


async def collect(
    client: "Client", request: job_service_pb2.ListJobsRequest, limit: int | None = None
) -> list[job_pb2.Job]:
    """Returns the jobs of as many pages as there are, up to `limit` jobs."""
    jobs: list[job_pb2.Job] = []
    while limit is None or len(jobs) < limit:
        request.page_size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(jobs))
        page = await client.page(request)
        jobs += page.jobs
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    return jobs[:limit]
