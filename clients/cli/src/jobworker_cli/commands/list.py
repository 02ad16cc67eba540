"""`jobworker list`: many jobs, newest first."""

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.context import execute
from jobworker_cli.options import OutputFormat, Quiet, key_values
from jobworker_cli.output import Format, print_jobs_json
from jobworker_cli.views import jobs_table

if TYPE_CHECKING:
    from jobworker_cli.client import Client

__all__ = ["list_jobs"]

PAGE_SIZE = 500


class Status(enum.StrEnum):
    """The statuses to choose from."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


def list_jobs(  # noqa: PLR0913 - a parameter an option
    ctx: typer.Context,
    *,
    status: Annotated[
        list[Status] | None,
        typer.Option("--status", "-s", case_sensitive=False, help="This status only. Can be given again."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", "-l", metavar="KEY=VALUE", help="Jobs with this label only. Again: with all."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="That many at most.")] = None,
    quiet: Quiet = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """List all jobs with basic information, newest first."""
    request = job_service_pb2.ListJobsRequest(
        statuses=[job_pb2.JobStatus.Value(f"JOB_STATUS_{wanted.name}") for wanted in status or ()],
        labels=key_values(label or (), "--label"),
    )
    execute(ctx, lambda client: _list(client, request, limit, output, quiet=quiet), output=output)


async def _list(
    client: "Client",
    request: job_service_pb2.ListJobsRequest,
    limit: int | None,
    output: Format,
    *,
    quiet: bool,
) -> int:
    jobs = await _collect(client, request, limit)
    if quiet:
        for job in jobs:
            print(job.id)
    elif output is Format.JSON:
        print_jobs_json(jobs)
    else:
        print(jobs_table(jobs))
    return 0


async def _collect(
    client: "Client", request: job_service_pb2.ListJobsRequest, limit: int | None
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
