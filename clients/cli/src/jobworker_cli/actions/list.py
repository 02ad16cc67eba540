"""`jobworker list`: print the jobs that match a filter."""

from jobworker_cli.output import Format
from jobworker_cli.render.formats import print_jobs
from jobworker_cli.render.times import parse_time_option, to_datetime
from jobworker_cli.settings.filter_options import FilterOptions, status_names
from jobworker_cli.settings.options import key_values
from jobworker_client import Client, JobSelection, JobStatus

__all__ = ["list_jobs", "parse_filter"]


def parse_filter(options: FilterOptions) -> JobSelection:
    """Return the filter that the options describe. The times are those of the creation."""
    job_filter = JobSelection(
        statuses=[JobStatus.Value(name) for name in status_names(options.status or ())],
        labels=key_values(options.label or (), "--label"),
        owner=options.owner,
        command_contains=options.command,
    )
    if options.since is not None:
        job_filter["created_after"] = to_datetime(parse_time_option(options.since, "--since"))
    if options.until is not None:
        job_filter["created_before"] = to_datetime(parse_time_option(options.until, "--until"))
    return job_filter


async def list_jobs(client: Client, job_filter: JobSelection, limit: int | None, output: Format) -> int:
    """Print the jobs that match the filter, at most `limit`."""
    print_jobs([job async for job in client.list(limit=limit, **job_filter)], output)
    return 0
