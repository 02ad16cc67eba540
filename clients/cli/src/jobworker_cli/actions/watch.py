"""`jobworker list --watch`: show the newest jobs that fit on the terminal, and refresh them."""

import asyncio
import shutil
import time
from datetime import timedelta

from jobworker_cli.output import Format, printable
from jobworker_cli.render.screen import alternate_screen
from jobworker_cli.render.tables import jobs_table
from jobworker_client import Client, JobFilter, JobWorkerError

__all__ = ["watch_jobs"]

# The status line and the header of the table.
HEADER_LINES = 2


async def watch_jobs(
    client: Client, job_filter: JobFilter, limit: int | None, output: Format, interval: timedelta
) -> int:
    """Show the jobs that match the filter until Ctrl-C; keep the last table while the server is away."""
    table = jobs_table([])
    with alternate_screen() as draw:
        while True:
            try:
                table = await _table(client, job_filter, limit, output)
                now = time.strftime("%H:%M:%S")
                status = f"Every {interval.total_seconds():g} s; updated at {now}. Press Ctrl-C to exit."
            except JobWorkerError as error:
                if not error.retryable:
                    raise
                fault, _, _ = str(error).partition("; ")
                status = printable(f"{fault}; retrying")
            draw([status, *table.splitlines()])
            await asyncio.sleep(interval.total_seconds())


async def _table(client: Client, job_filter: JobFilter, limit: int | None, output: Format) -> str:
    rows = max(1, shutil.get_terminal_size().lines - HEADER_LINES)
    count = rows if limit is None else min(limit, rows)
    jobs = [job async for job in client.list(limit=count, **job_filter)]
    return jobs_table(jobs, wide=output is Format.WIDE)
