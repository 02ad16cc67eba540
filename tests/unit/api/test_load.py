"""Clients that overload the server, with or without a certificate, and the effect on other clients."""

import asyncio
import contextlib
import ctypes
import socket
from pathlib import Path

import grpc
import http2
import pytest
from api_process import Start, connected, get, starter
from api_server import JOB, JOB_ID, Authority, Client, StartApi, refusal
from msgspec.structs import replace

from jobworker.v1 import job_service_pb2
from jobworkerd.config import ApiConfig, Config
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource
from jobworkerd.protocol import messages
from jobworkerd.rpc_server import memory, server


@pytest.fixture
def start() -> Start:
    """Start an API process."""
    return starter()


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setblocking(False)  # noqa: FBT003 - the socket module's signature
    return connection


async def _closed(connection: socket.socket) -> None:
    """Wait until the server has closed the connection."""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            assert await asyncio.get_running_loop().sock_recv(connection, 1) == b""


async def test_a_connection_without_a_handshake_is_closed(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dict(server.options(ApiConfig()))["grpc.server_handshake_timeout_ms"] == 10_000
    monkeypatch.setattr(server, "_HANDSHAKE_MS", 200)
    async with start_api() as api:
        with _connect(api.address) as connection:
            await _closed(connection)


class TestConnections:
    """With `api.max_connections` = 3."""

    @pytest.fixture
    def config(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
        """Settings for three connections, which the time of a handshake does not close."""
        monkeypatch.setattr(server, "_HANDSHAKE_MS", 120_000)
        return replace(config, api=ApiConfig(max_connections=3))

    async def test_a_further_connection_is_closed_and_the_others_are_served(
        self, start_api: StartApi
    ) -> None:
        async with start_api() as api, api.client() as client:
            request = job_service_pb2.GetJobRequest(id=JOB_ID)
            await client.stub.GetJob(request)
            with _connect(api.address), _connect(api.address):
                for _ in range(5):
                    with _connect(api.address) as beyond:
                        await _closed(beyond)
                assert (await client.stub.GetJob(request)).job.id == JOB_ID
            async with api.client() as other:
                assert (await other.stub.GetJob(request, timeout=20, wait_for_ready=True)).job.id == JOB_ID


def test_the_connection_limit_leaves_descriptors_for_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (100, 100))
    assert dict(server.options(ApiConfig()))["grpc.max_allowed_incoming_connections"] == 50


FLOOD = 60
BURST = 500


async def test_resets_of_one_client_do_not_affect_calls_of_others(
    start: Start, config: Config, authority: Authority, tmp_path: Path
) -> None:
    viewer = authority.client("mallory", "Viewer")
    viewer.private_key_pem.write_to_path(tmp_path / "key.pem")
    viewer.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    async with start(config) as started:
        address = await started.address()
        files = (Path(config.certs_dir) / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
        with await asyncio.to_thread(http2.connect, address, *files) as connection:
            flood = asyncio.create_task(asyncio.to_thread(_flood, connection))
            async with connected(address, authority) as client:
                while not flood.done():
                    assert await get(client) == JOB_ID
            await flood


def _flood(connection: socket.socket) -> None:
    """Send calls and resets as fast as the server reads."""
    request = job_service_pb2.GetJobRequest(id=JOB_ID).SerializeToString()
    for number in range(FLOOD):
        method = "/jobworker.v1.JobService/GetJob"
        connection.sendall(http2.reset_calls(method, request, number * BURST, BURST))


_FEW_DESCRIPTORS = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
runpy.run_module("jobworkerd.api", run_name="__main__")
"""


async def test_streams_beyond_the_descriptors_are_refused_with_the_reason(
    start: Start, config: Config, authority: Authority
) -> None:
    directory = Path(config.state_dir) / JOB_ID
    directory.mkdir()
    LogWriter.create(directory).append(OutputSource.STDOUT, memoryview(bytes(100)), 1)
    async with start(config, ("-c", _FEW_DESCRIPTORS)) as started:
        address = await started.address()
        started.supervisor.script = lambda _: messages.OneJob(replace(JOB, log_size=100))
        async with connected(address, authority) as client:
            calls = [_stream(client, offset) for offset in range(100)]
            refused = [error for call in calls if (error := await _refused(call))]
            assert refused
            assert {refusal(error).code for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert {refusal(error).reason for error in refused} == {"HOST_EXHAUSTED"}
            assert await get(client) == JOB_ID
            for call in calls:
                call.cancel()
            async with asyncio.timeout(20):
                while await _refused(_stream(client, 0)):
                    await asyncio.sleep(0.01)


def _stream(client: Client, offset: int) -> "grpc.aio.UnaryStreamCall[object, object]":
    """Read from a separate offset, because readers of the same offset share messages."""
    request = job_service_pb2.GetJobsStreamRequest(id=JOB_ID, offset=offset)
    return client.stub.GetJobsStream(request, timeout=60)  # type: ignore[return-value]  # of these messages


async def _refused(call: "grpc.aio.UnaryStreamCall[object, object]") -> grpc.aio.AioRpcError | None:
    """Return the error of a call, or None if it has returned output."""
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        return error
    return None


class _Library:
    """Replaces the C library."""

    def __init__(self) -> None:
        self.trimmed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def malloc_trim(self, pad: int) -> None:
        """Records the call."""
        assert pad == 0
        self._loop.call_soon_threadsafe(self.trimmed.set)


async def test_freed_memory_is_returned_periodically(monkeypatch: pytest.MonkeyPatch) -> None:
    library = _Library()
    monkeypatch.setattr(memory, "_TRIM_SECONDS", 0.001)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    trimming = asyncio.create_task(memory.trim_periodically())
    for _ in range(2):
        library.trimmed.clear()
        await asyncio.wait_for(library.trimmed.wait(), 10)
    trimming.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await trimming
