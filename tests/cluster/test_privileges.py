"""The gateway and the agent use every right that the manifests grant them, and need no other one."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from api_server import Authority
from virtual_host import VirtualHost

from gateway_program import connect, event, serving, started
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker.v1.job_service_pb2_grpc import JobServiceStub
from jobworker_agent import agent, kube_cluster
from jobworker_agent.settings import node_identity
from tests.cluster import audit
from tests.cluster.control_plane import ControlPlane
from tests.cluster.packaged import NAMESPACE

_GATEWAY = f"system:serviceaccount:{NAMESPACE}:jobworker-gateway"
_AGENT = f"system:serviceaccount:{NAMESPACE}:jobworker-agent"
_GROUP = f"system:serviceaccounts:{NAMESPACE}"
_OF_A_RACE = audit.Right(NAMESPACE, "pods", "get")
"""An agent reads a Pod if a later attempt replaces it during a report."""

_JOB_SECONDS = 5.0
_UNKNOWN = "01a219c1-9152-7fa5-b02b-5e34d8d8416b"


@contextlib.asynccontextmanager
async def _node(control_plane: ControlPlane, name: str) -> AsyncIterator[None]:
    """Run the agent of a node with the service account of agents."""
    identity = node_identity(name, "192.0.2.1:50051", [], {"max_cpu": 0, "max_memory": 0, "max_jobs": 0})
    kubeconfig = control_plane.kubeconfig(_AGENT, _GROUP)
    async with kube_cluster.connect(kubeconfig, identity, NAMESPACE, name) as cluster:
        running = asyncio.create_task(agent.run(identity, VirtualHost(_JOB_SECONDS), cluster))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def _reached(stub: JobServiceStub, job_id: str, status: int, attempt: int) -> None:
    """Wait until a job has a status in an attempt."""
    async with asyncio.timeout(120):
        while True:
            job = (await stub.GetJob(job_service_pb2.GetJobRequest(id=job_id))).job
            if (job.status, job.attempt) == (status, attempt):
                return
            await asyncio.sleep(0.1)


async def _create(stub: JobServiceStub, **fields: object) -> str:
    request = job_service_pb2.CreateJobRequest(command="true", max_cpu=10, max_memory=16, **fields)  # type: ignore[arg-type]
    return (await stub.CreateJob(request)).job.id


async def _all_paths(control_plane: ControlPlane, stub: JobServiceStub) -> None:
    """Let a job succeed, stop a waiting one, repeat a request, ask for an unknown job, and lose a node."""
    async with _node(control_plane, "rights-a"):
        done = await _create(stub, request_id="repeated")
        assert await _create(stub, request_id="repeated") == done
        await _reached(stub, done, job_pb2.JOB_STATUS_COMPLETED, 1)
        waiting = await _create(stub, node_selector={"missing": "yes"})
        stopped = (await stub.StopJob(job_service_pb2.StopJobRequest(id=waiting))).job
        assert stopped.status == job_pb2.JOB_STATUS_STOPPED
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetJob(job_service_pb2.GetJobRequest(id=_UNKNOWN))
        # Without a node that is ready, the controller manager evicts nothing.
        async with _node(control_plane, "rights-b"):
            selector = {"kubernetes.io/hostname": "rights-b"}
            lost = await _create(stub, retry_on_lost=True, node_selector=selector)
            await _reached(stub, lost, job_pb2.JOB_STATUS_RUNNING, 1)
        await _reached(stub, lost, job_pb2.JOB_STATUS_QUEUED, 2)
        async with _node(control_plane, "rights-b"):
            await _reached(stub, lost, job_pb2.JOB_STATUS_COMPLETED, 2)


async def test_each_right_is_used_and_no_other_one_is_missing(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    # An API server that starts refuses every call, and other tests restart it.
    begin = control_plane.audit_log.stat().st_size
    clients = Authority()
    (tmp_path / "certs").mkdir()
    clients.write_gateway(tmp_path / "certs")
    shutil.copy(control_plane.kubeconfig(_GATEWAY, _GROUP), tmp_path / "kubeconfig")
    async with started(tmp_path) as process:
        address = (await event(process, "listening"))["address"]
        async with connect(address, clients, "Admin") as channel:
            stub = JobServiceStub(channel)
            await serving(channel)
            await _all_paths(control_plane, stub)
    for account, user, unused in (
        ("jobworker-gateway", _GATEWAY, set()),
        ("jobworker-agent", _AGENT, {_OF_A_RACE}),
    ):
        rights, refused = audit.used(control_plane.audit_log, user, begin)
        assert refused == []
        assert audit.granted(account) - rights == unused
        assert rights <= audit.granted(account)
