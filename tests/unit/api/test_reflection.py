"""Server reflection in both versions."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest
from api_server import Api, Client
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio
from grpc_reflection.v1alpha import reflection_pb2
from msgspec.structs import replace

from jobworkerd.config import ApiConfig, Config

VERSIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

Request = reflection_pb2.ServerReflectionRequest


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


async def test_every_listed_service_is_described(api: Api) -> None:
    async with api.client() as client:
        (listed,) = await _reflect(client, VERSIONS[0], [Request(list_services="")])
        names = [service.name for service in listed.list_services_response.service]
        answers = await _reflect(
            client, VERSIONS[0], [Request(file_containing_symbol=name) for name in names]
        )
    assert all(answer.HasField("file_descriptor_response") for answer in answers)


@pytest.mark.parametrize("version", VERSIONS)
async def test_reflection_sends_its_headers_before_the_first_request(api: Api, version: str) -> None:
    async with api.client() as client:
        stream: aio.StreamStreamMultiCallable[bytes, bytes]
        stream = client.channel.stream_stream(f"/{version}/ServerReflectionInfo")
        call = stream()
        async with asyncio.timeout(10):
            await call.initial_metadata()
        call.cancel()


class TestWithoutReflection:
    """A server with `api.reflection = false`."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        """Settings without reflection."""
        return replace(config, api=ApiConfig(reflection=False))

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_reflection_is_unimplemented(self, api: Api, version: str) -> None:
        request = Request(list_services="").SerializeToString()
        code = await api.status("Admin", f"{version}/ServerReflectionInfo", request)
        assert code == grpc.StatusCode.UNIMPLEMENTED
