"""`jobworker top`: the running jobs again and again, each time with what they used since the time before."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import TYPE_CHECKING

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.actions.list import collect
from jobworker_cli.live_views import top_table
from jobworker_cli.screen import screen

if TYPE_CHECKING:
    from jobworker_cli.client import Client

__all__ = ["show_top", "watch_top"]


async def show_top(client: "Client", interval: timedelta) -> int:
    """Prints the running jobs once, with what they use in an interval."""
    tables = _tables(client, interval)
    await anext(tables)
    print(await anext(tables))
    await tables.aclose()
    return 0


async def watch_top(client: "Client", interval: timedelta) -> int:
    """Shows the running jobs on the terminal until Ctrl-C."""
    with screen() as show:
        async for table in _tables(client, interval):
            show(table)
    raise AssertionError("Ctrl-C is the only end")


async def _tables(client: "Client", interval: timedelta) -> AsyncGenerator[str, None]:
    before: dict[str, job_pb2.Usage] = {}
    while True:
        jobs = await collect(client, _running())
        yield top_table(jobs, before)
        before = {job.id: job.usage for job in jobs}
        await asyncio.sleep(interval.total_seconds())


def _running() -> job_service_pb2.ListJobsRequest:
    return job_service_pb2.ListJobsRequest(statuses=[job_pb2.JOB_STATUS_RUNNING], live_usage=True)
