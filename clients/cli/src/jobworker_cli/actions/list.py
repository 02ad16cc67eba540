"""`jobworker list`: jobs of as many pages as there are, for people or programs."""

from collections.abc import Iterable

from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_jobs
from jobworker_cli.settings.options import key_values
from jobworker_client import Client, JobFilter, JobStatus

__all__ = ["job_filter", "show_jobs"]


def job_filter(statuses: Iterable[str], labels: Iterable[str]) -> JobFilter:
    """Returns the filter for jobs with one of the statuses (`RUNNING`) and all of the labels."""
    return JobFilter(
        statuses=[JobStatus.Value(f"JOB_STATUS_{status}") for status in statuses],
        labels=key_values(labels, "--label"),
    )


async def show_jobs(client: Client, which: JobFilter, limit: int | None, output: Format) -> int:
    """Prints the jobs that fit, up to `limit`."""
    print_jobs([job async for job in client.list(limit=limit, **which)], output)
    return 0
