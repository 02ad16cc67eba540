"""What is served besides JobService, and the server's life, in this process."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from api_server import JOB_ID, Api, Client, StartApi, refusal, write_empty_log
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from msgspec.structs import replace

from jobworker.v1 import job_service_pb2
from jobworkerd.api import server
from jobworkerd.api.rpc import Context
from jobworkerd.api.server import options
from jobworkerd.config import ApiConfig, Config, Defaults
from jobworkerd.model import LimitsPolicy
from jobworkerd.protocol import client, messages

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

VERSIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

Request = reflection_pb2.ServerReflectionRequest


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


async def test_health_lists_all_services(api: Api) -> None:
    async with api.client("Viewer") as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        listed = await health.List(health_pb2.HealthListRequest())
        statuses = {service: each.status for service, each in listed.statuses.items()}
        assert statuses == {"": SERVING, "jobworker.v1.JobService": SERVING, "limits": SERVING}


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


async def test_health_of_a_service_that_there_is_not(api: Api) -> None:
    async with api.client() as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        with pytest.raises(aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def _reflect(
    client: Client, version: str, requests: Sequence[reflection_pb2.ServerReflectionRequest]
) -> list[reflection_pb2.ServerReflectionResponse]:
    stream = client.channel.stream_stream(
        f"/{version}/ServerReflectionInfo",
        request_serializer=Request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return [response async for response in stream(iter(requests), timeout=30)]


@pytest.mark.parametrize("version", VERSIONS)
async def test_reflection_describes_the_service(api: Api, version: str) -> None:
    requests = [
        Request(list_services=""),
        Request(file_containing_symbol="jobworker.v1.JobService"),
    ]
    async with api.client("Viewer") as client:
        listed, described = await _reflect(client, version, requests)
    names = {service.name for service in listed.list_services_response.service}
    assert {"jobworker.v1.JobService", "grpc.health.v1.Health"} <= names
    files = [
        FileDescriptorProto.FromString(file)
        for file in described.file_descriptor_response.file_descriptor_proto
    ]
    assert "jobworker/v1/job_service.proto" in {file.name for file in files}


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("jobworker.v1.JobService.StopJob", "jobworker/v1/job_service.proto"),
        ("jobworker.v1.Job", "jobworker/v1/job.proto"),
        ("jobworker.v1.JobStatus", "jobworker/v1/job.proto"),
        ("jobworker.v1.Nothing", None),
        ("jobworker.v1.JobService.Nothing", None),
    ],
)
async def test_reflection_describes_any_symbol(api: Api, symbol: str, file: str | None) -> None:
    async with api.client("Viewer") as client:
        (answer,) = await _reflect(client, VERSIONS[0], [Request(file_containing_symbol=symbol)])
    files = [
        FileDescriptorProto.FromString(each).name
        for each in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert file in files if file else answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_every_service_that_reflection_lists_is_described(api: Api) -> None:
    async with api.client() as client:
        (listed,) = await _reflect(client, VERSIONS[0], [Request(list_services="")])
        names = [service.name for service in listed.list_services_response.service]
        answers = await _reflect(
            client, VERSIONS[0], [Request(file_containing_symbol=name) for name in names]
        )
    assert all(answer.HasField("file_descriptor_response") for answer in answers)


@pytest.mark.parametrize("version", VERSIONS)
async def test_reflection_sends_its_headers_before_it_is_asked(api: Api, version: str) -> None:
    async with api.client() as client:
        stream: aio.StreamStreamMultiCallable[bytes, bytes]
        stream = client.channel.stream_stream(f"/{version}/ServerReflectionInfo")
        call = stream()
        async with asyncio.timeout(10):
            await call.initial_metadata()
        call.cancel()


async def test_a_watch_of_the_health_sends_its_headers_at_once(api: Api) -> None:
    async with api.client() as client:
        call = health_pb2_grpc.HealthStub(client.channel).Watch(
            health_pb2.HealthCheckRequest(service="unknown")
        )
        async with asyncio.timeout(10):
            await call.initial_metadata()
        call.cancel()


class TestWithoutReflection:
    """With `api.reflection = false`."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        """Settings without reflection."""
        return replace(config, api=ApiConfig(reflection=False))

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_there_is_none(self, api: Api, version: str) -> None:
        async with api.client() as client:
            with pytest.raises(aio.AioRpcError) as caught:
                await _reflect(client, version, [Request(list_services="")])
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("size", "code", "sentence"),
    [
        (500 * 1024, grpc.StatusCode.INVALID_ARGUMENT, "has 512000 bytes; use at most 4096"),
        (600 * 1024, grpc.StatusCode.INVALID_ARGUMENT, "request: has 614404 bytes"),
        (2047 * 1024, grpc.StatusCode.INVALID_ARGUMENT, "request: has 2096132 bytes"),
        (2049 * 1024, grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
    ],
)
async def test_a_request_past_512_kib_is_refused_with_the_reason(
    api: Api, size: int, code: grpc.StatusCode, sentence: str
) -> None:
    async with api.client() as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.stub.CreateJob(job_service_pb2.CreateJobRequest(command="x" * size))
    refused = refusal(caught.value)
    assert refused.code == code
    assert sentence in refused.message
    assert refused.reason == ("INVALID_REQUEST" if code is grpc.StatusCode.INVALID_ARGUMENT else "")


async def test_a_caller_without_a_role_learns_nothing_of_its_large_request(api: Api) -> None:
    async with api.client("Intern") as client:
        call = client.stub.CreateJob(job_service_pb2.CreateJobRequest(command="x" * 600 * 1024))
        assert await call.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_metadata_of_half_a_mebibyte_is_read(api: Api) -> None:
    metadata = [(f"x-{number}", "x" * 8_000) for number in range(64)]
    async with api.client() as client:
        request = job_service_pb2.GetJobRequest(id=JOB_ID)
        assert (await client.stub.GetJob(request, metadata=metadata)).job.id == JOB_ID


async def test_an_unknown_method_is_unimplemented(api: Api) -> None:
    async with api.client() as client:
        nothing: aio.UnaryUnaryMultiCallable[bytes, bytes]
        nothing = client.channel.unary_unary("/jobworker.v1.JobService/Nothing")
        with pytest.raises(aio.AioRpcError) as caught:
            await nothing(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_client_that_is_gone_is_noticed_within_a_minute() -> None:
    settings = dict(options(ApiConfig()))
    assert settings["grpc.keepalive_time_ms"] + server._KEEPALIVE_ANSWER_MS < 60_000


STREAMING_CLIENT = """
import asyncio, sys
from grpc import aio

async def main():
    async with aio.insecure_channel(sys.argv[1]) as channel:
        async for message in channel.unary_stream("/test.v1.Test/Stream")(b""):
            print(message, flush=True)

asyncio.run(main())
"""


async def test_a_client_that_does_not_answer_pings_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process: its kernel still acknowledges TCP's segments."""
    monkeypatch.setattr(server, "_KEEPALIVE_ANSWER_MS", 1_000)
    gone = asyncio.Event()

    async def stream(_request: bytes, context: Context) -> None:
        await context.write(b"one")
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    grpc_server = aio.server(options=options(ApiConfig(keepalive=1)))
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]]
    handlers = {"Stream": grpc.unary_stream_rpc_method_handler(stream)}
    grpc_server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.v1.Test", handlers),))
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    await grpc_server.start()
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STREAMING_CLIENT, f"127.0.0.1:{port}", stdout=PIPE
    )
    try:
        assert client.stdout
        assert await client.stdout.readline() == b"b'one'\n"
        client.send_signal(signal.SIGSTOP)
        await asyncio.wait_for(gone.wait(), 20)
    finally:
        client.kill()
        await client.communicate()
        await grpc_server.stop(None)


def test_clients_may_ping_on_quiet_streams() -> None:
    """The default of gRPC is to cut a client off that pings a third time within five minutes."""
    settings = dict(options(ApiConfig()))
    assert settings["grpc.http2.min_ping_interval_without_data_ms"] <= 10_000
    assert settings["grpc.keepalive_permit_without_calls"] == 1


async def test_a_follower_hears_of_the_supervisors_end(start_api: StartApi, config: Config) -> None:
    async with start_api() as api, api.client() as client:
        write_empty_log(Path(config.state_dir, "jobs"))
        call = client.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=JOB_ID))
        async with asyncio.timeout(10):
            while not api.supervisor.requests:
                await asyncio.sleep(0.01)
            api.supervisor.close()
            with pytest.raises(aio.AioRpcError) as caught:
                await call.read()
        assert refusal(caught.value).reason == "SUPERVISOR_UNAVAILABLE"
        await api.running
