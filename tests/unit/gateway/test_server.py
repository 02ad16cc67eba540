"""The process of the gateway: services, roles, health and shutdown."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import grpc
import pytest
from api_server import Authority, Logged, eventually, refusal
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from msgspec.structs import replace

from fake_cluster import FakeEngine, fake_cluster
from jobworker.v1 import (
    cluster_service_pb2,
    cluster_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    job_watch_pb2,
    login_service_pb2,
    login_service_pb2_grpc,
)
from jobworker_gateway import server
from jobworkerd.rpc_server.telemetry import Exporting
from jobworkerd.startup import CannotStart
from running_gateway import Gateway, gateway_settings, running_gateway
from server_fixtures import logged

__all__ = ["logged"]

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority of the clients and of the gateway."""
    return Authority()


@pytest.fixture
async def gateway(tmp_path: Path, authority: Authority, logged: Logged) -> AsyncIterator[Gateway]:
    """A running gateway."""
    async with running_gateway(tmp_path, authority, logged) as running:
        yield running


async def test_a_job_of_an_admin_waits_in_the_queue(gateway: Gateway) -> None:
    async with gateway.client() as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        request = job_service_pb2.CreateJobRequest(command="true", queue="gpu")
        job = (await stub.CreateJob(request)).job
    assert job.status == job_pb2.JOB_STATUS_QUEUED
    assert [each.job.id for each in gateway.cluster.engine.submitted] == [job.id]
    assert "CN=alice" in job.owner


async def test_an_unknown_queue_is_refused(gateway: Gateway) -> None:
    async with gateway.client() as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CreateJob(job_service_pb2.CreateJobRequest(command="true", queue="cpu"))
    assert "gpu" in refusal(caught.value).message


async def test_a_viewer_starts_no_job_and_sees_the_nodes(gateway: Gateway) -> None:
    gateway.cluster.add_node("one", "127.0.0.1:1")
    async with gateway.client("Viewer") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await job_service_pb2_grpc.JobServiceStub(channel).CreateJob(
                job_service_pb2.CreateJobRequest(command="true")
            )
        nodes = await cluster_service_pb2_grpc.ClusterServiceStub(channel).ListNodes(
            cluster_service_pb2.ListNodesRequest()
        )
    assert refusal(caught.value).reason == "ROLE_REQUIRED"
    assert [each.name for each in nodes.nodes] == ["one"]


async def test_a_delegate_sees_no_nodes(gateway: Gateway) -> None:
    async with gateway.client("Delegate") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await cluster_service_pb2_grpc.ClusterServiceStub(channel).ListNodes(
                cluster_service_pb2.ListNodesRequest()
            )
    assert refusal(caught.value).reason == "ROLE_REQUIRED"


async def test_a_client_learns_its_identity(gateway: Gateway) -> None:
    async with gateway.client("Viewer", "bob") as channel:
        stub = login_service_pb2_grpc.LoginServiceStub(channel)
        found = await stub.GetIdentity(login_service_pb2.GetIdentityRequest())
    assert found.identity.role == "Viewer"
    assert "CN=bob" in found.identity.subject


async def test_a_session_of_a_host_is_refused(gateway: Gateway) -> None:
    async with gateway.client("Delegate") as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListJobs(
                job_service_pb2.ListJobsRequest(), metadata=(("jobworker-session-bin", b"token"),)
            )
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "the session token is not one of this server" in str(caught.value.details())


async def test_the_certificate_of_a_gateway_cannot_act_for_users_at_a_gateway(gateway: Gateway) -> None:
    async with gateway.client("Gateway") as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListJobs(
                job_service_pb2.ListJobsRequest(), metadata=(("jobworker-subject-bin", b"CN=alice"),)
            )
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_reflection_lists_the_services_of_a_gateway(gateway: Gateway) -> None:
    async with gateway.client("Viewer") as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        await call.done_writing()
    names = {each.name for each in answer.list_services_response.service}
    assert {"jobworker.v1.JobService", "jobworker.v1.ClusterService"} <= names


async def _status(channel: grpc.aio.Channel, service: str = "") -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return int((await health_pb2_grpc.HealthStub(channel).Check(request)).status)


async def _until_status(channel: grpc.aio.Channel, wanted: int) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    async with asyncio.timeout(10):
        async for answer in watch:
            if answer.status == wanted:
                return


async def test_health_follows_the_state_of_the_cluster(gateway: Gateway) -> None:
    async with gateway.client("Viewer") as channel:
        await _until_status(channel, SERVING)
        gateway.cluster.engine.problem = "the watch of the Pods has ended"
        await _until_status(channel, NOT_SERVING)
        assert await _status(channel, "certificates") == SERVING
        gateway.cluster.engine.problem = ""
        await _until_status(channel, SERVING)


async def test_a_gateway_that_ends_lets_clients_resume_elsewhere(gateway: Gateway) -> None:
    async with gateway.client() as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        job = (await stub.CreateJob(job_service_pb2.CreateJobRequest(command="true"))).job
        stream = stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id))
        reading = asyncio.ensure_future(stream.read())
        await stream.initial_metadata()
        await gateway.end()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reading
    assert refusal(caught.value).reason == "SHUTTING_DOWN"
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_each_call_has_a_line_in_the_log(gateway: Gateway) -> None:
    async with gateway.client("Viewer") as channel:
        await job_service_pb2_grpc.JobServiceStub(channel).ListJobs(job_service_pb2.ListJobsRequest())
    await eventually(lambda: [line for line in gateway.logged if line["event"] == "rpc"])
    (line,) = (line for line in gateway.logged if line["event"] == "rpc")
    assert (line["method"], line["role"], line["status"]) == (
        "jobworker.v1.JobService/ListJobs",
        "Viewer",
        "OK",
    )


async def test_missing_certificates_end_the_start(tmp_path: Path, authority: Authority) -> None:
    settings = gateway_settings(tmp_path, authority)
    (tmp_path / "certs/server-key.pem").unlink()
    async with fake_cluster(tmp_path) as cluster:
        with pytest.raises(
            CannotStart, match=r"server-key\.pem: No such file or directory; create certificates"
        ):
            await server.serve(settings, cluster.engine, cluster.archive, asyncio.Event(), Exporting())


async def test_a_second_gateway_does_not_share_the_port(
    gateway: Gateway, tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "second").mkdir()
    settings = replace(gateway_settings(tmp_path / "second", authority), listen=gateway.address)
    with pytest.raises(CannotStart, match=r"cannot listen on .*: Address already in use"):
        await server.serve(
            settings, gateway.cluster.engine, gateway.cluster.archive, asyncio.Event(), Exporting()
        )


async def test_a_missing_certificate_for_nodes_ends_the_start(tmp_path: Path, authority: Authority) -> None:
    settings = gateway_settings(tmp_path, authority)
    (tmp_path / "certs/gateway.pem").unlink()
    async with fake_cluster(tmp_path) as cluster:
        with pytest.raises(CannotStart) as caught:
            await server.serve(settings, cluster.engine, cluster.archive, asyncio.Event(), Exporting())
    assert str(caught.value) == (
        f"certificate for nodes: {tmp_path}/certs/gateway.pem: cannot read the file: "
        "No such file or directory; create it with `jobworkerd certs issue gateway --role gateway`"
    )


async def _read_to_the_end(stream: AsyncIterable[object]) -> None:
    async for _ in stream:
        pass


async def test_a_failure_of_the_engine_ends_the_gateway_and_its_calls(
    tmp_path: Path, authority: Authority, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = asyncio.Event()

    async def run(_: FakeEngine) -> None:
        await fails.wait()
        raise RuntimeError("bug")

    monkeypatch.setattr(FakeEngine, "run", run)
    async with running_gateway(tmp_path, authority, logged) as gateway, gateway.client() as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        watch = aiter(stub.WatchJobs(job_watch_pb2.WatchJobsRequest()))
        await anext(watch)
        fails.set()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _read_to_the_end(watch)
        with pytest.raises(ExceptionGroup):
            await gateway.running
    assert refusal(caught.value).reason == "SHUTTING_DOWN"
