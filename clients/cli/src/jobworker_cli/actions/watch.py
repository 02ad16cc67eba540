"""`jobworker list --watch`: the newest jobs, as many as the terminal holds, again and again."""

import asyncio
import shutil
import time
from datetime import timedelta

from jobworker_cli.output import Format, printable
from jobworker_cli.render.screen import screen
from jobworker_cli.render.views import jobs_table
from jobworker_client import Client, JobFilter, JobWorkerError

__all__ = ["watch_jobs"]

# The lines that are no jobs: what is said, and the table's head.
OTHER_LINES = 2


async def watch_jobs(
    client: Client, which: JobFilter, limit: int | None, form: Format, interval: timedelta
) -> int:
    """Shows the jobs that fit, until Ctrl-C. A server that is away for a while is told, and asked again."""
    table = jobs_table([])
    with screen() as draw:
        while True:
            try:
                table = await _table(client, which, limit, form)
                said = f"every {interval.total_seconds():g} s, at {time.strftime('%H:%M:%S')}; Ctrl-C ends"
            except JobWorkerError as error:
                if not error.retryable:
                    raise
                said = printable(f"{error}; trying again")
            draw([said, *table.splitlines()])
            await asyncio.sleep(interval.total_seconds())


async def _table(client: Client, which: JobFilter, limit: int | None, form: Format) -> str:
    room = max(1, shutil.get_terminal_size().lines - OTHER_LINES)
    most = room if limit is None else min(limit, room)
    jobs = [job async for job in client.list(limit=most, **which)]
    return jobs_table(jobs, wide=form is Format.WIDE)
