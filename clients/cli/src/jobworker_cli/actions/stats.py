"""`jobworker stats`: print the usage of one job, once or until it ends."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

from jobworker.v1 import job_pb2
from jobworker_cli.output import printable
from jobworker_cli.render.live_views import usage_header, usage_line
from jobworker_cli.render.screen import alternate_screen, is_terminal
from jobworker_cli.render.views import final_line, queue_line, usage_details
from jobworker_cli.results import is_final, is_queued, status_name
from jobworker_cli.settings.connect import resolve_job_id
from jobworker_client import Client

__all__ = ["follow_stats", "show_stats"]

Measurement = tuple[job_pb2.Job, job_pb2.Usage | None]
"""A job, and its previous usage if there is one."""


async def show_stats(client: Client, ref: str, interval: timedelta) -> int:
    """Print the usage of a running job in one interval, and the total usage."""
    async with aclosing(_measure(client, await resolve_job_id(client, ref), interval)) as measurements:
        async for job, previous in measurements:
            if previous is not None or is_final(job) or is_queued(job):
                print(_page(job, previous))
                break
    return 0


async def follow_stats(client: Client, ref: str, interval: timedelta) -> int:
    """Show the usage of a job until it ends, then its result and total usage."""
    measurements = _measure(client, await resolve_job_id(client, ref), interval)
    async with aclosing(measurements):
        job = await (_redraw(measurements) if is_terminal() else _print_lines(measurements))
    print(_page(job, None))
    return 0


async def _redraw(measurements: AsyncGenerator[Measurement, None]) -> job_pb2.Job:
    with alternate_screen() as draw:
        async for job, previous in measurements:
            if is_final(job):
                return job
            draw(_page(job, previous).splitlines())
    raise AssertionError("the last measurement has a final job")


async def _print_lines(measurements: AsyncGenerator[Measurement, None]) -> job_pb2.Job:
    print(usage_header(), flush=True)
    async for job, previous in measurements:
        if is_final(job):
            return job
        print(usage_line(job, previous), flush=True)
    raise AssertionError("the last measurement has a final job")


def _page(job: job_pb2.Job, previous: job_pb2.Usage | None) -> str:
    if is_queued(job):
        return f"{printable(job.id)}  {status_name(job)}  {queue_line(job)}"
    head = final_line(job) if is_final(job) else f"{usage_header()}\n{usage_line(job, previous)}"
    return f"{head}\n\n{usage_details(job)}".rstrip()


async def _measure(client: Client, job_id: str, interval: timedelta) -> AsyncGenerator[Measurement, None]:
    """Yield a measurement per interval; the last one has the final job."""
    previous: job_pb2.Usage | None = None
    while True:
        job = await client.get(job_id)
        yield job, previous
        if is_final(job):
            return
        previous = job.usage
        await asyncio.sleep(interval.total_seconds())
