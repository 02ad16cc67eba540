"""`jobworker top`: the running jobs again and again, each time with what they used since the time before."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

from jobworker_cli.render.live_views import top_table
from jobworker_cli.render.screen import screen
from jobworker_client import Client, JobStatus, Usage

__all__ = ["show_top", "watch_top"]


async def show_top(client: Client, interval: timedelta) -> int:
    """Prints the running jobs once, with what they use in an interval."""
    async with aclosing(_tables(client, interval)) as tables:
        await anext(tables)
        print(await anext(tables))
    return 0


async def watch_top(client: Client, interval: timedelta) -> int:
    """Shows the running jobs on the terminal until Ctrl-C."""
    with screen() as draw:
        async for table in _tables(client, interval):
            draw(table.splitlines())
    raise AssertionError("Ctrl-C is the only end")


async def _tables(client: Client, interval: timedelta) -> AsyncGenerator[str, None]:
    before: dict[str, Usage] = {}
    while True:
        jobs = [job async for job in client.list(statuses=[JobStatus.JOB_STATUS_RUNNING], live_usage=True)]
        yield top_table(jobs, before)
        before = {job.id: job.usage for job in jobs}
        await asyncio.sleep(interval.total_seconds())
