"""`jobworker stats`: what one job uses, at one moment or until it ends, and what it has used in all."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

from jobworker.v1 import job_pb2
from jobworker_cli.render.live_views import moment, moment_head
from jobworker_cli.render.screen import is_live, screen
from jobworker_cli.render.views import final_line, usage_details
from jobworker_cli.results import is_final
from jobworker_cli.settings.connect import resolve
from jobworker_client import Client

__all__ = ["follow_stats", "show_stats"]

Moment = tuple[job_pb2.Job, job_pb2.Usage | None]
"""A job, and its usage the moment before; None if there was none."""


async def show_stats(client: Client, ref: str, interval: timedelta) -> int:
    """Prints what a job uses in an interval if it runs, and what it has used in all."""
    async with aclosing(_moments(client, await resolve(client, ref), interval)) as moments:
        async for job, before in moments:
            if before is not None or is_final(job):
                print(_page(job, before))
                break
    return 0


async def follow_stats(client: Client, ref: str, interval: timedelta) -> int:
    """Shows what a job uses until it ends, then prints how it ended and what it has used in all."""
    moments = _moments(client, await resolve(client, ref), interval)
    async with aclosing(moments):
        job = await (_redraw(moments) if is_live() else _append(moments))
    print(_page(job, None))
    return 0


async def _redraw(moments: AsyncGenerator[Moment, None]) -> job_pb2.Job:
    with screen() as draw:
        async for job, before in moments:
            if is_final(job):
                return job
            draw(_page(job, before).splitlines())
    raise AssertionError("the last moment is final")


async def _append(moments: AsyncGenerator[Moment, None]) -> job_pb2.Job:
    print(moment_head(), flush=True)
    async for job, before in moments:
        if is_final(job):
            return job
        print(moment(job, before), flush=True)
    raise AssertionError("the last moment is final")


def _page(job: job_pb2.Job, before: job_pb2.Usage | None) -> str:
    head = final_line(job) if is_final(job) else f"{moment_head()}\n{moment(job, before)}"
    return f"{head}\n\n{usage_details(job)}".rstrip()


async def _moments(client: Client, job_id: str, interval: timedelta) -> AsyncGenerator[Moment, None]:
    """Yields a job again and again; in the last moment it is final."""
    before: job_pb2.Usage | None = None
    while True:
        job = await client.get(job_id)
        yield job, before
        if is_final(job):
            return
        before = job.usage
        await asyncio.sleep(interval.total_seconds())
