"""`jobworker list`: print the jobs that match a filter."""

from collections.abc import Iterable

from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_jobs
from jobworker_cli.settings.options import key_values
from jobworker_client import Client, JobFilter, JobStatus

__all__ = ["list_jobs", "parse_filter"]


def parse_filter(statuses: Iterable[str], labels: Iterable[str]) -> JobFilter:
    """Return the filter for jobs with one of the statuses (`RUNNING`) and all of the labels."""
    return JobFilter(
        statuses=[JobStatus.Value(f"JOB_STATUS_{status}") for status in statuses],
        labels=key_values(labels, "--label"),
    )


async def list_jobs(client: Client, job_filter: JobFilter, limit: int | None, output: Format) -> int:
    """Print the jobs that match the filter, at most `limit`."""
    print_jobs([job async for job in client.list(limit=limit, **job_filter)], output)
    return 0
