"""A cluster in memory: the engine of the gateway, with its table, and an archive in a file."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jobworker.v1 import cluster_service_pb2, job_pb2
from jobworker_cluster.client_certificates import ClientCertificate
from jobworker_cluster.records import is_final
from jobworker_gateway.archive.sqlite import SqliteArchive
from jobworker_gateway.engine import AcceptedJob, ArchivedJob
from jobworker_gateway.job_table import JobTable, LiveJob
from jobworker_gateway.jobs import Jobs
from jobworkerd.errors import ClusterUnavailable, JobNotFound


class FakeEngine:
    """An engine whose jobs a test moves. `hidden` are states of jobs that the table has not seen."""

    problem = ""
    complete = True
    certificate: ClientCertificate | None = None

    def __init__(self, archive: SqliteArchive | None = None) -> None:
        self.archive = archive
        self.jobs = JobTable()
        self.nodes: dict[str, cluster_service_pb2.Node] = {}
        self.hidden: dict[str, LiveJob] = {}
        self.submitted: list[AcceptedJob] = []
        self.cancelled: list[tuple[str, str]] = []
        self.updated: list[job_pb2.Job] = []
        self.grace_periods: list[float | None] = []
        self.stops: list[tuple[str, str]] = []
        self.cancels = True
        """The result of `cancel`."""
        self.gone = set[str]()
        """Jobs that the cluster does not have any more."""
        self.is_down = False

    async def run(self) -> None:
        """Do nothing: the test moves the jobs."""

    async def submit(self, accepted: AcceptedJob) -> job_pb2.Job:
        """Put the job into the table, after other calls had their turn."""
        await asyncio.sleep(0)
        if self.is_down:
            raise ClusterUnavailable("the control plane does not answer")
        self.submitted.append(accepted)
        return self.jobs.put(LiveJob(accepted.job)).job

    async def knows(self, owner: str, request_id: str) -> bool:
        """Return whether the request was submitted."""
        return (owner, request_id) in [(each.job.owner, each.request.request_id) for each in self.submitted]

    async def find(self, job_id: str) -> LiveJob | None:
        """Return a hidden job."""
        if self.is_down:
            raise ClusterUnavailable("the control plane does not answer")
        hidden = self.hidden.get(job_id)
        return self.jobs.put(hidden) if hidden else self.jobs.get(job_id)

    async def cancel(self, job_id: str, subject: str, grace_period: float | None = None) -> bool:
        """Note the call."""
        self.grace_periods.append(grace_period)
        if self.is_down:
            raise ClusterUnavailable("the control plane does not answer")
        self.cancelled.append((job_id, subject))
        if job_id in self.gone:
            raise JobNotFound(job_id)
        return self.cancels

    async def end(self, live: LiveJob, record: job_pb2.Job, subject: str) -> job_pb2.Job | None:
        """Archive the record of the current attempt."""
        current = self.jobs.get(record.id)
        assert current
        assert self.archive
        if current.attempt_uid != live.attempt_uid:
            return None
        if record.retry_on_lost and self.is_down:
            raise ClusterUnavailable("the control plane does not answer")
        self.stops.append((record.id, subject))
        return await self.archive.add(ArchivedJob(record))

    async def update(self, job: job_pb2.Job) -> None:
        """Note the call."""
        if self.is_down:
            raise ClusterUnavailable("the control plane does not answer")
        self.updated.append(job)


@dataclasses.dataclass(frozen=True)
class FakeCluster:
    """The engine, the archive, and the jobs in both."""

    engine: FakeEngine
    archive: SqliteArchive
    jobs: Jobs

    async def put(self, job: job_pb2.Job, address: str = "", attempt: str = "") -> None:
        """Store a state of a job. A final one is archived first, as an engine does."""
        if is_final(job):
            await self.archive.add(ArchivedJob(job))
        reserved = job.max_cpu, job.max_memory
        self.engine.jobs.put(LiveJob(job, attempt, address, reserved=reserved))

    def add_node(self, name: str, address: str) -> None:
        """Add a node that is ready."""
        self.engine.nodes[name] = cluster_service_pb2.Node(name=name, address=address, ready=True)


@asynccontextmanager
async def fake_cluster(directory: Path, archive_file: Path | None = None) -> AsyncIterator[FakeCluster]:
    """Open a cluster without jobs and nodes, by default with an archive in the directory."""
    archive = await SqliteArchive.connect(archive_file or directory / "archive.sqlite")
    engine = FakeEngine(archive)
    try:
        yield FakeCluster(engine, archive, Jobs(engine, archive))
    finally:
        await archive.close()
