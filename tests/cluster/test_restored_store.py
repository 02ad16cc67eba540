"""The store of Kubernetes is restored from a backup while a gateway runs."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fake_archive import FakeArchive
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cluster.kube import Kube
from jobworker_cluster.resources import Resource
from jobworker_gateway.engine import AcceptedJob
from jobworker_gateway.kubernetes.engine import KubernetesEngine
from jobworker_gateway.kubernetes.settings import KubernetesSettings
from jobworkerd.job_id import JobIds
from tests.cluster import packaged
from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.kube_api import wait_until_ready

_WRITES = 500


@pytest.mark.timeout(240)
async def test_a_gateway_follows_a_store_that_was_restored(tmp_path: Path) -> None:
    ids = JobIds()
    with running(tmp_path / "files") as plane:
        packaged.apply(plane.api())
        store, backup = plane.directory / "etcd0", tmp_path / "backup"
        kubeconfig = plane.kubeconfig("admin", "system:masters")
        settings = KubernetesSettings(packaged.NAMESPACE, kubeconfig)
        engine = await KubernetesEngine.connect(settings, FakeArchive())
        following = asyncio.create_task(engine.run())
        try:
            await until(lambda: not engine.problem)
            kept = await engine.submit(accepted(ids.new()))
            await asyncio.to_thread(_exchange, plane, lambda: shutil.copytree(store, backup))
            await until(lambda: not engine.problem)
            await _write_much(kubeconfig)
            lost = await engine.submit(accepted(ids.new()))
            await asyncio.to_thread(_exchange, plane, lambda: _replace(store, backup))
            await until(lambda: not engine.jobs.get(lost.id))
            assert engine.jobs.get(kept.id)
            # The watches see changes again.
            assert await engine.cancel(kept.id, "CN=ada")
            await until(lambda: not engine.jobs.get(kept.id))
            await until(lambda: not engine.problem)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await engine.close()


def accepted(job_id: str) -> AcceptedJob:
    """Return a job that no node can run."""
    job = job_pb2.Job(id=job_id, command="true", owner="CN=ada", status=job_pb2.JOB_STATUS_QUEUED)
    job.max_cpu, job.max_memory = 10, 1
    job.create_time.GetCurrentTime()
    return AcceptedJob(job, job_service_pb2.CreateJobRequest(command="true"))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def _write_much(kubeconfig: Path) -> None:
    """Let more happen after the backup than an apiserver writes when it starts."""
    kube = await Kube.connect(kubeconfig)
    try:
        for number in range(_WRITES):
            labels = {"metadata": {"labels": {"test": str(number)}}}
            await kube.patch(Resource("api/v1", "namespaces"), packaged.NAMESPACE, labels)
    finally:
        await kube.close()


def _exchange(plane: ControlPlane, action: Callable[[], object]) -> None:
    """Do something with the files of the store while nothing uses them."""
    with _stopped(plane):
        action()
    wait_until_ready(plane.api())


@contextmanager
def _stopped(plane: ControlPlane) -> Iterator[None]:
    services = [*plane.apiservers, *plane.etcd]
    for each in services:
        each.hold()
    try:
        yield
    finally:
        for each in reversed(services):
            each.release()


def _replace(store: Path, backup: Path) -> None:
    shutil.rmtree(store)
    shutil.copytree(backup, store)
