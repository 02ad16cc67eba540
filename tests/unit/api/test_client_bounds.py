"""The bounds on what one client, and all clients together, use of an API process."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import grpc
import pytest
from api_server import JOB_ID, Api, Client, refusal
from google.rpc import error_details_pb2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from msgspec.structs import replace

from jobworker.v1 import job_service_pb2
from jobworkerd.config import ApiConfig, Config
from jobworkerd.quotas import QuotaConfig, ViewerQuota
from jobworkerd.rpc_server import clients
from jobworkerd.rpc_server.clients import Clients
from jobworkerd.rpc_server.identity.principal import Principal, Role
from jobworkerd.rpc_server.interceptors import call_bounds
from jobworkerd.rpc_server.peers import close_peers, normalized, open_peers

GET = job_service_pb2.GetJobRequest(id=JOB_ID)
GET_METHOD = "/jobworker.v1.JobService/GetJob"


@pytest.fixture
def config(config: Config) -> Config:
    """Settings with few RPCs and connections."""
    quota = QuotaConfig(viewer=ViewerQuota(connections=2, concurrent_rpcs=20))
    return replace(config, quota=quota, api=ApiConfig(max_concurrent_rpcs=25))


async def get(client: Client) -> str:
    return (await client.stub.GetJob(GET, timeout=20)).job.id


async def watch(client: Client, count: int) -> list["aio.UnaryStreamCall[object, object]"]:
    """Open streams, and wait for the first message of each."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    calls = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(count)]
    for call in calls:
        await call.read()
    return calls


async def refused(client: Client, **options: object) -> tuple[str, dict[str, str], float]:
    """Return the reason, the metadata and the retry delay of a refused GetJob."""
    with pytest.raises(aio.AioRpcError) as caught:
        await client.stub.GetJob(GET, timeout=20, **options)  # type: ignore[arg-type]
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = rpc_status.from_call(caught.value)
    assert status
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(retry)
    return info.reason, dict(info.metadata), retry.retry_delay.ToSeconds()


async def until_served(client: Client) -> None:
    """Call until a call is accepted."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(aio.AioRpcError):
                await get(client)
                return
            await asyncio.sleep(0.02)


async def test_a_client_has_a_maximum_of_concurrent_rpcs(api: Api) -> None:
    async with api.client("Viewer", "mallory") as client, api.client("Viewer", "bob") as other:
        calls = await watch(client, 20)
        reason, metadata, delay = await refused(client)
        assert (reason, delay) == ("QUOTA_EXCEEDED", 1)
        assert (metadata["quota"], metadata["limit"]) == ("quota.viewer.concurrent_rpcs", "20")
        assert await get(other) == JOB_ID
        calls[0].cancel()
        await until_served(client)


async def test_all_clients_have_a_maximum_of_concurrent_rpcs(api: Api) -> None:
    async with api.client("Viewer", "mallory") as client, api.client("Viewer", "bob") as other:
        calls = [*await watch(client, 15), *await watch(other, 10)]
        reason, metadata, _ = await refused(other)
        assert (reason, metadata["setting"]) == ("SERVER_BUSY", "api.max_concurrent_rpcs")
        answer = await health_pb2_grpc.HealthStub(client.channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        for call in calls:
            call.cancel()
        await until_served(client)


async def test_a_gateway_has_only_the_bounds_on_all_clients(api: Api) -> None:
    async with api.client("Gateway") as gateway:
        calls = await watch(gateway, 22)
        for user in (b"CN=ann", b"CN=bob"):
            response = await gateway.stub.GetJob(GET, timeout=20, metadata=(("jobworker-subject-bin", user),))
            assert response.job.id == JOB_ID
        calls += await watch(gateway, 3)
        reason, metadata, _ = await refused(gateway, metadata=(("jobworker-subject-bin", b"CN=ann"),))
        assert (reason, metadata["setting"]) == ("SERVER_BUSY", "api.max_concurrent_rpcs")
        for call in calls:
            call.cancel()


async def test_metadata_of_many_calls_are_bounded(api: Api) -> None:
    large = [(f"x-{number}", "x" * 8_000) for number in range(4)]
    async with api.client("Viewer", "mallory") as client:
        assert (await client.stub.GetJob(GET, metadata=large)).job.id == JOB_ID
        await watch(client, 16)
        reason, metadata, _ = await refused(client, metadata=large)
        assert (reason, metadata["quota"]) == ("QUOTA_EXCEEDED", "metadata")
        assert await get(client) == JOB_ID


class TestConnections:
    """With two connections per viewer."""

    @contextlib.asynccontextmanager
    async def _connections(self, api: Api, count: int) -> AsyncIterator[list[Client]]:
        """Yield connections of one client."""
        async with contextlib.AsyncExitStack() as stack:
            options = [("grpc.use_local_subchannel_pool", 1)]
            credentials = api._credentials(api.authority.client("mallory", "Viewer"))
            yield [
                Client(await stack.enter_async_context(aio.secure_channel(api.address, credentials, options)))
                for _ in range(count)
            ]

    async def test_a_further_connection_is_refused_and_closed(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(clients, "_LOOK_SECONDS", 0.0)
        async with self._connections(api, 3) as (first, second, third), api.client("Viewer", "bob") as other:
            assert [await get(first), await get(second)] == [JOB_ID] * 2
            reason, metadata, _ = await refused(third)
            assert (reason, metadata["quota"]) == ("QUOTA_EXCEEDED", "quota.viewer.connections")
            port = int(api.address.rpartition(":")[2])
            async with asyncio.timeout(20):
                while len(open_peers(port)) > 2:
                    await asyncio.sleep(0.02)
            assert [await get(first), await get(second), await get(other)] == [JOB_ID] * 3
            await first.channel.close()
            await until_served(third)

    async def test_closed_connections_do_not_count(self, api: Api) -> None:
        for _ in range(5):
            async with self._connections(api, 2) as pair:
                for client in pair:
                    await until_served(client)


class TestRequest:
    """A client that does not send its request."""

    async def test_a_request_that_does_not_arrive_ends_the_call(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(call_bounds, "_READ_SECONDS", 0.05)
        async with api.client("Viewer") as client:
            call: aio.StreamUnaryCall[bytes, bytes] = client.channel.stream_unary(GET_METHOD)()
            with pytest.raises(aio.AioRpcError) as caught:
                await call
        found = refusal(caught.value)
        assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert "did not arrive within" in found.message

    async def test_a_call_without_a_request_is_refused(self, api: Api) -> None:
        async with api.client("Viewer") as client:
            call: aio.StreamUnaryCall[bytes, bytes] = client.channel.stream_unary(GET_METHOD)()
            await call.done_writing()
            with pytest.raises(aio.AioRpcError) as caught:
                await call
        assert "request: missing" in refusal(caught.value).message

    @pytest.mark.parametrize(
        "method",
        ["grpc.health.v1.Health/Check", "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"],
    )
    async def test_a_request_of_any_service_that_cannot_be_parsed_is_refused(
        self, api: Api, method: str
    ) -> None:
        assert await api.status("Viewer", method, b"\xff\xff") is grpc.StatusCode.INVALID_ARGUMENT


async def test_requests_of_a_client_are_read_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_READS_AT_ONCE", 2)
    client = Clients(QuotaConfig()).client(Principal("CN=ann", Role.ADMIN))
    await client.begin_read()
    await client.begin_read()
    waiting = [asyncio.create_task(client.begin_read()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    client.end_read()
    await asyncio.sleep(0.01)
    assert [task.done() for task in waiting] == [True, True, False]
    client.end_read()
    await waiting[2]
    client.end_read()
    client.end_read()
    async with asyncio.timeout(5):
        await client.begin_read()
        await client.begin_read()


def test_idle_clients_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_MAX_IDLE_CLIENTS", 10)
    table = Clients(QuotaConfig())
    busy = table.client(Principal("busy", Role.VIEWER))
    with busy:
        for number in range(100):
            client = table.client(Principal(f"CN={number}", Role.VIEWER))
            table.admit(f"ipv4:127.0.0.1:{number}", client)
        assert table.client(Principal("busy", Role.VIEWER)) is busy
    assert len(table._clients) <= 11
    assert len(table._owners) <= 10


def test_peers_of_a_server_for_ipv4_and_ipv6_have_ipv4_names() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0]:
            assert f"ipv4:127.0.0.1:{client.getsockname()[1]}" in open_peers(port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_peers_have_the_names_of_grpc(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        with socket.create_connection((host, port)) as client, server.accept()[0] as accepted:
            number = client.getsockname()[1]
            name = f"ipv6:%5B::1%5D:{number}" if ":" in host else f"ipv4:127.0.0.1:{number}"
            assert normalized(name) in open_peers(port)
            assert close_peers(port, lambda peer: peer == normalized(name)) == 1
            assert client.recv(1) == b""
            accepted.close()
