"""`jobworker queue`: print the queued jobs, and report the position of one of them."""

import asyncio
import contextlib

from jobworker.v1 import job_pb2
from jobworker_cli.output import Format, print_message
from jobworker_cli.render.formats import print_jobs
from jobworker_cli.render.tables import queue_table
from jobworker_cli.render.times import elapsed
from jobworker_cli.render.units import format_duration
from jobworker_cli.render.views import queue_line
from jobworker_cli.results import has_not_started, is_queued
from jobworker_cli.stream.signals import cancel_and_wait
from jobworker_client import Client, JobChanged, JobRemoved, JobStatus, JobWorkerError

__all__ = ["report_position", "show_queue"]

# Seconds. A gateway returns each job as queued, and most start at once. A shorter wait is not reported.
PATIENCE = 0.5

# Seconds. A position far behind changes rarely, and thousands of jobs can wait.
FIRST_INTERVAL = 1.0
LAST_INTERVAL = 10.0


async def show_queue(client: Client, limit: int | None, output: Format) -> int:
    """Print the queued jobs by position, at most `limit`."""
    jobs = [job async for job in client.list(statuses=[JobStatus.JOB_STATUS_QUEUED])]
    jobs.sort(key=lambda job: (job.queue_position, job.id))
    shown = jobs[:limit]
    if output in {Format.TABLE, Format.WIDE}:
        print(queue_table(shown, wide=output is Format.WIDE))
    else:
        print_jobs(shown, output)
    return 0


async def report_position(client: Client, job: job_pb2.Job) -> job_pb2.Job:
    """Print the position of a queued job to stderr whenever it changes; return the job after its start.

    A job that starts soon is not reported. If the server refuses to report the job or stays away, return its
    last known state.
    """
    if not has_not_started(job):
        return job
    position = Position(client)
    reporting = asyncio.create_task(position.report(job))
    try:
        job = await _starts(client, job)
    finally:
        await cancel_and_wait(reporting)
    if position.printed and job.HasField("start_time"):
        waited = format_duration(elapsed(job.create_time, job.start_time))
        print_message(f"jobworker: started after {waited} in the queue")
    return job


async def _starts(client: Client, job: job_pb2.Job) -> job_pb2.Job:
    """Return the job as soon as it runs or has ended."""
    with contextlib.suppress(JobWorkerError):
        async with client.watch(ids=[job.id]) as watch:
            async for event in watch:
                if isinstance(event, JobChanged):
                    job = event.job
                    if not has_not_started(job):
                        break
                if isinstance(event, JobRemoved):
                    break
    return job


class Position:
    """The place of a job in the queue. A watch does not report it: a start changes that of all others."""

    def __init__(self, client: Client) -> None:
        self.printed = ""
        """The last line that was printed, if any."""
        self._client = client

    async def report(self, job: job_pb2.Job) -> None:
        """Print the position, and each change of it."""
        await asyncio.sleep(PATIENCE)
        interval = FIRST_INTERVAL
        while True:
            if is_queued(job) and (line := queue_line(job)) != self.printed:
                print_message(f"jobworker: {line}")
                interval, self.printed = FIRST_INTERVAL, line
            await asyncio.sleep(interval)
            interval = min(interval * 1.5, LAST_INTERVAL)
            with contextlib.suppress(JobWorkerError):
                job = await self._client.get(job.id)
