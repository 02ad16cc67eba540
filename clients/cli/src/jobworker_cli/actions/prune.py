"""`jobworker prune`: find the jobs that ended before a time, and delete them."""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from jobworker_cli.errors import CliError
from jobworker_cli.output import print_message
from jobworker_cli.render.times import parse_time_option, to_datetime
from jobworker_cli.render.units import format_size
from jobworker_cli.settings.filter_options import FinalStatus, status_names
from jobworker_cli.settings.options import key_values
from jobworker_client import Client, JobFilter, JobNotFound, JobStatus

__all__ = ["EndedJobs", "parse_ended_jobs", "prune", "show_ended"]

# Calls at one time. More would not be faster: the server deletes one job after the other.
CONCURRENT = 16


@dataclass(frozen=True)
class EndedJobs:
    """A filter for ended jobs, and the time before which they ended."""

    job_filter: JobFilter
    ended_before: datetime


@dataclass(frozen=True)
class Found:
    """A job to delete. The whole message of a job would take several KiB."""

    job_id: str
    log_size: int


def parse_ended_jobs(older_than: str, statuses: Iterable[FinalStatus], labels: Iterable[str]) -> EndedJobs:
    """Return the jobs that the options describe."""
    ended_before = to_datetime(parse_time_option(older_than, "--older-than"))
    job_filter = JobFilter(
        statuses=[JobStatus.Value(name) for name in status_names(statuses)],
        labels=key_values(labels, "--label"),
        # Jobs that ended before a time were created before it, too.
        created_before=ended_before,
    )
    return EndedJobs(job_filter, ended_before)


async def show_ended(client: Client, ended: EndedJobs) -> int:
    """Print the ids of the jobs, and their number and size to stderr."""
    found = await _find(client, ended)
    for each in found:
        print(each.job_id)
    print_message(f"jobworker: would delete {_describe(found)}")
    return 0


async def prune(client: Client, ended: EndedJobs, *, confirmed: bool) -> int:
    """Delete the jobs and print their ids; ask first unless `confirmed`."""
    found = await _find(client, ended)
    if found and not confirmed and not await _confirm(found):
        print_message("jobworker: deleted nothing")
        return 1
    deleted = await _delete_all(client, found)
    print_message(f"jobworker: deleted {_describe(deleted)}")
    return 0


async def _find(client: Client, ended: EndedJobs) -> list[Found]:
    return [
        Found(job.id, job.log_size)
        async for job in client.list(**ended.job_filter)
        if job.HasField("end_time") and to_datetime(job.end_time) < ended.ended_before
    ]


async def _confirm(found: Sequence[Found]) -> bool:
    if not sys.stdin.isatty():
        raise CliError(
            f"{_describe(found)} would be deleted, but stdin is not a terminal to ask on",
            hint="use --yes to delete without asking, or --dry-run to see the jobs",
        )
    print(f"Delete {_describe(found)}? [y/N] ", end="", file=sys.stderr, flush=True)
    return (await _line_of_stdin()).strip().lower() in {"y", "yes"}


async def _line_of_stdin() -> str:
    """Read a line of a terminal. A blocking read would defer Ctrl-C to the end of the line."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


async def _delete_all(client: Client, found: Sequence[Found]) -> list[Found]:
    """Return the jobs that were deleted; others were deleted by another client meanwhile."""
    waiting = iter(found)
    deleted: list[Found] = []

    async def delete_some() -> None:
        for each in waiting:
            try:
                await client.delete(each.job_id)
            except JobNotFound:
                continue
            print(each.job_id, flush=True)
            deleted.append(each)

    await asyncio.gather(*(delete_some() for _ in range(CONCURRENT)))
    return deleted


def _describe(found: Sequence[Found]) -> str:
    jobs = "1 job" if len(found) == 1 else f"{len(found)} jobs"
    return f"{jobs} with {format_size(sum(each.log_size for each in found))} of output"
