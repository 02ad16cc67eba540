"""The health service: its statuses, and when they change."""

import asyncio

import grpc
import pytest
from api_server import JOB_ID, Api, StartApi, refusal
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobworker.v1 import job_service_pb2
from jobworkerd.config import Defaults
from jobworkerd.model import LimitsPolicy
from jobworkerd.protocol import client, messages
from jobworkerd.rpc_server.health import CERTIFICATES, STARTING, Health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", "jobworker.v1.JobService"])
async def test_health_is_serving_until_the_drain(api: Api, service: str) -> None:
    async with api.client("Viewer") as client, asyncio.timeout(10):
        health = health_pb2_grpc.HealthStub(client.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=service))
        assert (await watch.read()).status == SERVING
        await api.supervisor.say(messages.Drain())
        assert (await watch.read()).status == NOT_SERVING
        checked = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert checked.status == NOT_SERVING
        watch.cancel()


async def test_health_follows_the_supervisor(monkeypatch: pytest.MonkeyPatch, start_api: StartApi) -> None:
    monkeypatch.setattr(client, "TICK_SECONDS", 0.05)
    async with start_api() as api, api.client("Viewer") as viewer, asyncio.timeout(30):
        watch = health_pb2_grpc.HealthStub(viewer.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        api.supervisor.answers_pings = False
        assert (await watch.read()).status == NOT_SERVING
        with pytest.raises(aio.AioRpcError) as caught:
            await viewer.stub.GetJob(job_service_pb2.GetJobRequest(id=JOB_ID))
        assert refusal(caught.value).reason == "SUPERVISOR_UNAVAILABLE"
        await api.supervisor.say(messages.Reply(0, messages.Done()))
        assert (await watch.read()).status == SERVING
        watch.cancel()
    assert [api.events(f"supervisor {what}") != [] for what in ("does not answer", "answers again")]


def test_each_certificate_has_its_own_reason() -> None:
    health = Health()
    health.remove(STARTING)
    health.note_expiry("server", "expires")
    health.note_expiry("ca", "expires")
    health.note_expiry("server", "")
    assert health._status(CERTIFICATES) == NOT_SERVING
    health.note_expiry("ca", "")
    assert health._status(CERTIFICATES) == SERVING
    assert health._status("") == SERVING


async def test_health_lists_all_services(api: Api) -> None:
    async with api.client("Viewer") as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        listed = await health.List(health_pb2.HealthListRequest())
        statuses = {service: each.status for service, each in listed.statuses.items()}
        assert statuses == dict.fromkeys(("", "jobworker.v1.JobService", "limits", "certificates"), SERVING)


@pytest.mark.parametrize(
    ("policy", "whole"), [(LimitsPolicy.BEST_EFFORT, SERVING), (LimitsPolicy.STRICT, NOT_SERVING)]
)
async def test_health_says_whether_limits_are_enforced(
    start_api: StartApi, policy: LimitsPolicy, whole: health_pb2.HealthCheckResponse.ServingStatus
) -> None:
    defaults = Defaults(limits_policy=policy)
    async with start_api(defaults=defaults) as api, api.client("Viewer") as viewer, asyncio.timeout(30):
        health = health_pb2_grpc.HealthStub(viewer.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="limits"))
        assert (await watch.read()).status == SERVING
        await api.supervisor.say(messages.LimitsProblem("the base is gone"))
        assert (await watch.read()).status == NOT_SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == whole
        await api.supervisor.say(messages.LimitsProblem(""))
        assert (await watch.read()).status == SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING
        watch.cancel()
        (event,) = api.events("limits cannot be enforced")
        assert event["reason"] == "the base is gone"


async def test_the_health_of_an_unknown_service(api: Api) -> None:
    async with api.client() as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        with pytest.raises(aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_watch_sends_its_headers_immediately(api: Api) -> None:
    async with api.client() as client:
        call = health_pb2_grpc.HealthStub(client.channel).Watch(
            health_pb2.HealthCheckRequest(service="unknown")
        )
        async with asyncio.timeout(10):
            await call.initial_metadata()
        call.cancel()
