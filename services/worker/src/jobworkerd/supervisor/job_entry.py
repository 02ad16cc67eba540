"""The entry of a live job in the table of jobs."""

import asyncio
from dataclasses import dataclass

from jobworkerd.model import Job
from jobworkerd.supervisor.live_job import LiveJob


@dataclass(eq=False, slots=True)
class JobEntry:
    """A live job and the two events that requests wait for.

    `started` holds the running job or the error of its start. `ending` returns the final job; it is None
    until the job has started. `recorded` is true if the job can have a record. `final` is the final job
    until its record is committed; the job holds no resources then.
    """

    live: LiveJob
    started: asyncio.Future[Job]
    ending: asyncio.Task[Job] | None = None
    recorded: bool = False
    final: Job | None = None

    @property
    def next_event(self) -> asyncio.Future[Job]:
        """The start of a job that is starting, or the end of a job that runs."""
        return self.ending or self.started
