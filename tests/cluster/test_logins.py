"""A dashboard for all users of a cluster: logins work at each gateway, and survive the end of gateways."""

import asyncio
import subprocess
from pathlib import Path

import grpc
import pytest

from jobworker.v1 import job_service_pb2, login_service_pb2
from jobworker.v1.login_service_pb2_grpc import LoginServiceStub
from live_client import Client, client
from tests.cluster.hosts import BIN
from tests.cluster.whole import Cluster


@pytest.fixture(scope="module")
def _certificate(cluster: Cluster) -> None:
    """The certificate of the dashboard."""
    argv: list[str | Path] = [BIN / "jobworkerd", "certs", "issue", "dashboard", "--role=delegate"]
    argv += ["--force", "--dir", cluster.gateway.server.certs]
    subprocess.run(argv, check=True, capture_output=True)


async def _redeem(dashboard: Client, token: str) -> login_service_pb2.RedeemLoginResponse:
    request = login_service_pb2.RedeemLoginRequest(token=token)
    return await LoginServiceStub(dashboard.channel).RedeemLogin(request, timeout=30)


async def _lists(dashboard: Client, token: bytes) -> None:
    metadata = (("jobworker-session-bin", token),)
    request = job_service_pb2.ListJobsRequest(page_size=1)
    await dashboard.stub.ListJobs(request, metadata=metadata, timeout=60, wait_for_ready=True)


@pytest.mark.usefixtures("_certificate")
async def test_one_gateway_redeems_once_what_the_other_one_created(cluster: Cluster) -> None:
    first, second = (each.server for each in cluster.gateways)
    async with client(first, "admin") as admin:
        request = login_service_pb2.CreateLoginRequest()
        token = (await LoginServiceStub(admin.channel).CreateLogin(request, timeout=30)).token
    async with client(first, "dashboard") as one, client(second, "dashboard") as two:
        login = await _redeem(two, token)
        for dashboard in (one, two):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _redeem(dashboard, token)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            await _lists(dashboard, login.session_token)
        # After that, no gateway has the session in its memory.
        for gateway in cluster.gateways:
            gateway.service.hold()
            gateway.service.release()
        for gateway in cluster.gateways:
            await asyncio.to_thread(gateway.wait_until_serving)
        for dashboard in (one, two):
            await _lists(dashboard, login.session_token)
