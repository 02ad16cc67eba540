"""A cluster, its archive and any number of gateways, with an apiserver in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from fake_apiserver import FakeApiserver, apiserver
from fake_archive import FakeArchive
from job_pods import pod_item, secret_item
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cluster import names, records
from jobworker_cluster.kube import Json, Kube
from jobworker_gateway.engine import AcceptedJob
from jobworker_gateway.kubernetes.engine import KubernetesEngine
from jobworker_gateway.kubernetes.settings import KubernetesSettings
from jobworkerd.trace_context import TraceContext

PODS = "/api/v1/namespaces/jobworker/pods"
SECRETS = "/api/v1/namespaces/jobworker/secrets"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
NEW = {"creationTimestamp": "2100-01-01T00:00:00Z"}


@dataclass
class World:
    """A cluster, its archive and any number of gateways."""

    server: FakeApiserver
    connect: Callable[[], Kube]
    archive: FakeArchive = field(default_factory=FakeArchive)

    async def accept(self, found: job_pb2.Job, **fields: Any) -> None:
        await self.server.put(f"{SECRETS}/job-{found.id}", secret_item(found, **fields))

    async def start(self, found: job_pb2.Job, **fields: Any) -> None:
        """Store an accepted job with its Pod."""
        await self.accept(found, **NEW)
        await self.server.put(f"{PODS}/job-{found.id}", pod_item(found, **fields))

    async def change(
        self, found: job_pb2.Job, record: job_pb2.Job | None = None, phase: str = "Pending"
    ) -> None:
        """Let the scheduler bind a Pod to a node, and the node change it."""
        item: Json = self.server.objects[f"{PODS}/job-{found.id}"]
        item["spec"]["nodeName"] = "node-1"
        item["status"]["phase"] = phase
        if record:
            item["metadata"]["annotations"][names.RECORD] = records.encode(records.strip(record))
        await self.server.put(f"{PODS}/job-{found.id}", item)

    @contextlib.asynccontextmanager
    async def gateway(self, lost_after: float = 0.0) -> AsyncIterator[KubernetesEngine]:
        settings = KubernetesSettings(queues={"gpu": {"gpu": "true"}}, lost_after=lost_after)
        engine = KubernetesEngine(settings, self.archive, self.connect())
        async with running(engine):
            await until(lambda: not engine.problem)
            yield engine

    @property
    def jobs_left(self) -> list[str]:
        return [path for path in self.server.objects if path.startswith((PODS, SECRETS))]

    def final(self, found: job_pb2.Job) -> job_pb2.Job:
        return self.archive.rows[found.id].job


@contextlib.asynccontextmanager
async def open_world() -> AsyncIterator[World]:
    """Start an apiserver with priority classes."""
    async with apiserver() as (server, kube):
        for name, value in (("jobworker-low", -100), ("jobworker-normal", 0), ("jobworker-high", 50)):
            labels = {names.PRIORITY: "true"}
            await server.put(
                f"{CLASSES}/{name}", {"metadata": {"name": name, "labels": labels}, "value": value}
            )
        yield World(server, lambda: Kube(kube._sessions.access))


@contextlib.asynccontextmanager
async def running(engine: KubernetesEngine) -> AsyncIterator[None]:
    """Run an engine, and close it at the end of the context."""
    task = asyncio.create_task(engine.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def status(
    engine: KubernetesEngine, found: job_pb2.Job, wanted: job_pb2.JobStatus.ValueType
) -> job_pb2.Job:
    async with asyncio.timeout(30):
        live = engine.jobs.get(found.id)
        while live is None or live.job.status != wanted:
            live = await engine.jobs.changed(found.id, live.revision if live else 0)
            await asyncio.sleep(0)
        return live.job


def accepted(
    found: job_pb2.Job, request_id: str = "", request_hash: str = "h", trace: TraceContext | None = None
) -> AcceptedJob:
    request = job_service_pb2.CreateJobRequest(command="true", request_id=request_id)
    return AcceptedJob(found, request, request_hash, trace)
