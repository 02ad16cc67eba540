"""The program `jobworker-gateway`: its start without Kubernetes, and its end."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from api_server import Authority
from grpc_health.v1 import health_pb2, health_pb2_grpc

PROGRAM = Path(sys.executable).with_name("jobworker-gateway")

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: closed, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: gateway, user: {token: token}}]
contexts: [{name: closed, context: {cluster: closed, user: gateway}}]
current-context: closed
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with certificates and the address of a Kubernetes that does not answer."""
    (tmp_path / "certs").mkdir()
    Authority().write_server(tmp_path / "certs")
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    return tmp_path


@asynccontextmanager
async def _started(directory: Path, **changed: str) -> AsyncIterator[Process]:
    """Start the program, and kill it at the end if it still runs."""
    flags = {
        "listen": "127.0.0.1:0",
        "certs-dir": str(directory / "certs"),
        "archive": f"sqlite:{directory}/archive.sqlite",
        "kubeconfig": str(directory / "kubeconfig"),
        "logging-format": "json",
        **changed,
    }
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *(f"--{name}={value}" for name, value in flags.items()), stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _event(process: Process, event: str) -> dict[str, str]:
    """Read the log up to an event, and return its fields."""
    assert process.stderr
    async with asyncio.timeout(60):
        async for line in process.stderr:
            found: dict[str, str] = json.loads(line)
            if found["event"] == event:
                return found
    raise AssertionError(f"the gateway ended without the event {event}")


async def test_without_kubernetes_a_gateway_starts_and_does_not_serve(directory: Path) -> None:
    authority = Authority()
    authority.write_server(directory / "certs")
    issued = authority.client("viewer", "Viewer")
    credentials = grpc.ssl_channel_credentials(
        authority.ca.cert_pem.bytes(), issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    )
    async with _started(directory) as process:
        listening = await _event(process, "listening")
        assert listening["process"] == "gateway"
        async with grpc.aio.secure_channel(listening["address"], credentials) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("flag", "value", "sentence"),
    [
        ("kubeconfig", "/missing", "/missing"),
        ("archive", "sqlite:/missing/archive.sqlite", "archive: /missing/archive.sqlite cannot be used"),
        ("certs-dir", "/missing", "/missing/ca.pem: No such file or directory"),
    ],
)
async def test_a_gateway_that_cannot_start_says_why(
    directory: Path, flag: str, value: str, sentence: str
) -> None:
    async with _started(directory, **{flag: value}) as process:
        assert sentence in (await _event(process, "cannot start"))["reason"]
        async with asyncio.timeout(60):
            assert await process.wait() == 1


async def test_a_setting_that_is_not_accepted_ends_the_start(directory: Path) -> None:
    async with _started(directory, namespace="Jobs") as process:
        _, stderr = await process.communicate()
    assert process.returncode == 1
    assert stderr.decode() == (
        'error: namespace: "Jobs" (flag --namespace) is not accepted; use the name of a namespace\n'
    )
