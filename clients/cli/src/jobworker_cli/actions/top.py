"""`jobworker top`: show the usage of the running jobs per interval."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

from jobworker_cli.render.live_views import usage_table
from jobworker_cli.render.screen import alternate_screen
from jobworker_client import Client, JobStatus, Usage

__all__ = ["show_top", "watch_top"]


async def show_top(client: Client, interval: timedelta) -> int:
    """Print the usage of the running jobs in one interval."""
    async with aclosing(_tables(client, interval)) as tables:
        await anext(tables)
        print(await anext(tables))
    return 0


async def watch_top(client: Client, interval: timedelta) -> int:
    """Show the running jobs on the terminal until Ctrl-C."""
    with alternate_screen() as draw:
        async for table in _tables(client, interval):
            draw(table.splitlines())
    raise AssertionError("only Ctrl-C ends the loop")


async def _tables(client: Client, interval: timedelta) -> AsyncGenerator[str, None]:
    previous: dict[str, Usage] = {}
    while True:
        jobs = [job async for job in client.list(statuses=[JobStatus.JOB_STATUS_RUNNING], live_usage=True)]
        yield usage_table(jobs, previous)
        previous = {job.id: job.usage for job in jobs}
        await asyncio.sleep(interval.total_seconds())
