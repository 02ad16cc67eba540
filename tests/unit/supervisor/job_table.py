"""A table of jobs with a database, without the rest of the supervisor."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from job_context import NO_CGROUPS, job_context, new_job, spare_setup
from msgspec.structs import replace

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.config import Config, IsolationConfig, LoggingConfig
from jobworkerd.model import Job, JobSpec, JobStatus
from jobworkerd.protocol.messages import StopJob
from jobworkerd.supervisor.cluster_jobs import ClusterJobs
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.jobs import Jobs

ISOLATION = IsolationConfig(
    run_as="server",
    mount_namespace=False,
    pid_namespace=False,
    ipc_namespace=False,
    uts_namespace=False,
    no_new_privileges=False,
)


class Server:
    """A table of jobs and what it reports."""

    def __init__(self, context: JobContext, config: Config) -> None:
        self.context = context
        self.log = io.StringIO()
        self.forgotten: list[str] = []
        self.changed: list[str] = []
        events = EventLog(LoggingConfig(format="json"), self.log)
        self.jobs = Jobs(config, context, events, self._changed, self.forgotten.append)
        self.cluster = ClusterJobs(self.jobs, context, events)

    def _changed(self, job_id: str) -> None:
        progress = self.jobs.progress(job_id)
        self.changed.append(progress.job.status.value if progress.job else f"live {progress.log_size}")

    async def run(self, *argv: str, **spec: object) -> Job:
        """Run a command and return the final job."""
        return await self.ended((await self.jobs.start(command(*argv, **spec))).id)

    async def ended(self, job_id: str) -> Job:
        async with asyncio.timeout(20):
            while not (job := self.jobs.get(job_id)).status.final:
                await asyncio.sleep(0.002)
        return job


def command(*argv: str, **spec: object) -> JobSpec:
    return replace(new_job(*argv).spec, **spec)


CONFIG = Config(isolation=ISOLATION, max_jobs=20)
ONE_JOB = replace(CONFIG, max_jobs=1)
NO_TIMEOUT = 3_600.0


@asynccontextmanager
async def running_table(
    directory: Path, config: Config = CONFIG, faults: list[str] | None = None
) -> AsyncIterator[Server]:
    """Run a table on a state directory, which another one can have used before."""
    jobs_dir = directory / "jobs"
    jobs_dir.mkdir(exist_ok=True)

    def on_fault(what: str, error: BaseException) -> None:
        if faults is None:
            pytest.fail(f"{what}: {error!r}")
        faults.append(what)

    hierarchy = Hierarchy(None, NO_CGROUPS)
    with job_context(
        jobs_dir, hierarchy, spare_setup(), ISOLATION, on_fault=on_fault, state_dir=directory
    ) as context:
        server = Server(context, config)
        server.jobs.queued.load()
        try:
            yield server
        finally:
            server.jobs.kill_all()
            await server.jobs.shut_down(0)
            server.jobs.close()


def refuse_writes(server: Server) -> None:
    """Let the disk refuse all changes of the records."""
    server.context.records._connection.execute("PRAGMA query_only = ON")


def accept_writes(server: Server) -> None:
    """Let the disk accept changes again."""
    server.context.records._connection.execute("PRAGMA query_only = OFF")


async def create(server: Server, *argv: str, **spec: object) -> Job:
    """Create a job that waits if it has to."""
    return await server.jobs.start(command(*argv, **{"queue_timeout": NO_TIMEOUT, **spec}))


async def occupy(server: Server, **spec: object) -> Job:
    """Start a job that runs until it is stopped."""
    return await server.jobs.start(command("sleep", "1000", **spec))


async def stop(server: Server, job: Job) -> Job:
    """Stop a job and return the final job."""
    return await server.jobs.stop(StopJob(job_id=job.id, subject="CN=bob", grace_period=0))


async def status_of(server: Server, job: Job, status: JobStatus) -> Job:
    """Wait until a job has a status."""
    async with asyncio.timeout(10):
        while (found := server.jobs.get(job.id)).status is not status:
            await asyncio.sleep(0.002)
    return found


async def until(predicate: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(10):
        while not predicate():
            await asyncio.sleep(0.002)
