"""The program `jobworker-gateway` and a real control plane without hosts."""

import contextlib
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from api_server import Authority, refusal

from gateway_program import connect, ended, event, serving, started
from jobworker.v1 import job_pb2, job_service_pb2
from jobworker.v1.job_service_pb2_grpc import JobServiceStub
from tests.cluster.control_plane import ControlPlane

GATEWAY = "system:serviceaccount:jobworker:jobworker-gateway"


@pytest.fixture(scope="module")
def clients() -> Authority:
    """The authority of the clients and of the gateway."""
    return Authority()


@pytest.fixture
def directory(tmp_path: Path, clients: Authority, control_plane: ControlPlane) -> Path:
    """The files of a gateway."""
    (tmp_path / "certs").mkdir()
    clients.write_gateway(tmp_path / "certs")
    shutil.copy(control_plane.kubeconfig(GATEWAY, "system:serviceaccounts"), tmp_path / "kubeconfig")
    return tmp_path


@contextlib.asynccontextmanager
async def _gateway(directory: Path, clients: Authority) -> AsyncIterator[JobServiceStub]:
    """Run a gateway that serves."""
    async with started(directory) as process:
        address = (await event(process, "listening"))["address"]
        async with connect(address, clients, "Admin") as channel:
            await serving(channel)
            yield JobServiceStub(channel)
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0


async def test_a_job_waits_without_hosts_and_its_end_survives_the_gateway(
    directory: Path, clients: Authority
) -> None:
    async with _gateway(directory, clients) as stub:
        request = job_service_pb2.CreateJobRequest(command="true", request_id="same")
        job = (await stub.CreateJob(request)).job
        assert job.status == job_pb2.JOB_STATUS_QUEUED
        assert (await stub.CreateJob(request)).job.id == job.id
    async with _gateway(directory, clients) as stub:
        listed = (await stub.ListJobs(job_service_pb2.ListJobsRequest())).jobs
        assert [each.id for each in listed] == [job.id]
        stopped = (await stub.StopJob(job_service_pb2.StopJobRequest(id=job.id))).job
        assert stopped.status == job_pb2.JOB_STATUS_STOPPED
        assert "CN=alice" in stopped.termination.stopped_by
    async with _gateway(directory, clients) as stub:
        assert (await stub.GetJob(job_service_pb2.GetJobRequest(id=job.id))).job == stopped
        assert (await stub.CreateJob(request)).job == stopped
        await stub.DeleteJob(job_service_pb2.DeleteJobRequest(id=job.id))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetJob(job_service_pb2.GetJobRequest(id=job.id))
    assert refusal(caught.value).reason == "JOB_NOT_FOUND"
