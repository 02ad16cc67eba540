"""`jobworker list`: print the jobs that match a filter."""

from collections.abc import Iterable

from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_jobs
from jobworker_cli.render.times import parse_time_option, to_datetime
from jobworker_cli.settings.options import key_values
from jobworker_client import Client, JobFilter, JobStatus

__all__ = ["list_jobs", "parse_filter"]


def parse_filter(  # noqa: PLR0913 - one parameter per option
    statuses: Iterable[str],
    labels: Iterable[str],
    *,
    owner: str = "",
    since: str | None = None,
    until: str | None = None,
    command: str = "",
) -> JobFilter:
    """Return the filter for jobs with one of the statuses (`RUNNING`) and all of the labels.

    `since` and `until` bound the time of the creation.
    """
    job_filter = JobFilter(
        statuses=[JobStatus.Value(f"JOB_STATUS_{status}") for status in statuses],
        labels=key_values(labels, "--label"),
        owner=owner,
        command_contains=command,
    )
    if since is not None:
        job_filter["created_after"] = to_datetime(parse_time_option(since, "--since"))
    if until is not None:
        job_filter["created_before"] = to_datetime(parse_time_option(until, "--until"))
    return job_filter


async def list_jobs(client: Client, job_filter: JobFilter, limit: int | None, output: Format) -> int:
    """Print the jobs that match the filter, at most `limit`."""
    print_jobs([job async for job in client.list(limit=limit, **job_filter)], output)
    return 0
