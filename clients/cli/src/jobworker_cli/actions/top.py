"""`jobworker top`: show the usage of the running jobs per interval."""

import asyncio
from datetime import timedelta

from jobworker_cli.output import printable
from jobworker_cli.render.error_messages import fault_of
from jobworker_cli.render.live_views import usage_table
from jobworker_cli.render.screen import alternate_screen
from jobworker_client import Client, JobStatus, JobWorkerError, Usage

__all__ = ["show_top", "watch_top"]


async def show_top(client: Client, interval: timedelta) -> int:
    """Print the usage of the running jobs in one interval."""
    tables = UsageTables(client)
    await tables.measure()
    await asyncio.sleep(interval.total_seconds())
    print(await tables.measure())
    return 0


async def watch_top(client: Client, interval: timedelta) -> int:
    """Show the running jobs on the terminal until Ctrl-C; keep the last table while the server is away."""
    tables = UsageTables(client)
    table = ""
    with alternate_screen() as draw:
        while True:
            status = []
            try:
                table = await tables.measure()
            except JobWorkerError as error:
                if not error.retryable:
                    raise
                status = [printable(f"{fault_of(error)}; retrying")]
            draw([*status, *table.splitlines()])
            await asyncio.sleep(interval.total_seconds())


class UsageTables:
    """Tables of the running jobs. Each is one call of ListJobs, because WatchJobs does not report usage."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._previous: dict[str, Usage] = {}

    async def measure(self) -> str:
        """Return the table for the time since the previous one."""
        running = self._client.list(statuses=[JobStatus.JOB_STATUS_RUNNING], live_usage=True)
        jobs = [job async for job in running]
        table = usage_table(jobs, self._previous)
        self._previous = {job.id: job.usage for job in jobs}
        return table
