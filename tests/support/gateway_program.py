"""The program `jobworker-gateway`, with the files in a directory."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from api_server import Authority
from grpc_health.v1 import health_pb2, health_pb2_grpc

PROGRAM = Path(sys.executable).with_name("jobworker-gateway")

_SECONDS = 60.0
_NOTHING: Mapping[str, str] = {}


@asynccontextmanager
async def started(
    directory: Path, environment: Mapping[str, str] = _NOTHING, **changed: str
) -> AsyncIterator[Process]:
    """Start the program with more variables, and kill it at the end if it still runs. `changed` are flags."""
    flags = {
        "listen": "127.0.0.1:0",
        "certs-dir": str(directory / "certs"),
        "archive": f"sqlite:{directory}/archive.sqlite",
        "kubeconfig": str(directory / "kubeconfig"),
        "logging-format": "json",
        **changed,
    }
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *(f"--{name}={value}" for name, value in flags.items()),
        stderr=PIPE,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def event(process: Process, name: str) -> dict[str, str]:
    """Read the log up to an event, and return its fields."""
    assert process.stderr
    async with asyncio.timeout(_SECONDS):
        async for line in process.stderr:
            found: dict[str, str] = json.loads(line)
            if found["event"] == name:
                return found
    raise AssertionError(f"the gateway ended without the event {name}")


async def ended(process: Process) -> int:
    """Wait for the end of the program, and return its exit code."""
    async with asyncio.timeout(_SECONDS):
        return await process.wait()


def connect(address: str, authority: Authority, unit: str) -> grpc.aio.Channel:
    """Return a channel with a new certificate that has this OU."""
    issued = authority.client("alice", unit)
    credentials = grpc.ssl_channel_credentials(
        authority.ca.cert_pem.bytes(), issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    )
    return grpc.aio.secure_channel(address, credentials)


async def serving(channel: grpc.aio.Channel) -> None:
    """Wait until the gateway knows the state of the cluster."""
    async with asyncio.timeout(_SECONDS):
        request = health_pb2.HealthCheckRequest()
        async for answer in health_pb2_grpc.HealthStub(channel).Watch(request, wait_for_ready=True):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
