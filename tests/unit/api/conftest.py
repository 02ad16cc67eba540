"""Fixtures for tests of the API process."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import structlog
from api_server import Api, Authority, Logged, ScriptedSupervisor, StartApi, first
from msgspec.structs import replace

from jobworkerd.api import main
from jobworkerd.api.host import describe_host
from jobworkerd.config import ApiConfig, Config, Defaults
from jobworkerd.rpc_server.interceptors.server_interceptor import ServerInterceptor
from jobworkerd.rpc_server.telemetry import Exporting
from server_fixtures import authority, logged

__all__ = ["authority", "logged"]


@pytest.fixture
def config(authority: Authority, tmp_path: Path) -> Config:
    """Settings for a server on a free port of the loopback."""
    (tmp_path / "certs").mkdir()
    authority.write_server(tmp_path / "certs")
    return Config(
        listen="127.0.0.1:0",
        state_dir=str(tmp_path),
        certs_dir=str(tmp_path / "certs"),
        api=ApiConfig(reflection=True),
    )


@pytest.fixture
def start_api(config: Config, authority: Authority, logged: Logged) -> StartApi:
    """Start an API with extra interceptors; it ends when the context is left."""

    @contextlib.asynccontextmanager
    async def start(
        extra: Sequence[ServerInterceptor] = (), defaults: Defaults = config.defaults
    ) -> AsyncIterator[Api]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the socket module's signature
        supervisor = ScriptedSupervisor(ours, Path(config.certs_dir))
        answering = asyncio.create_task(supervisor.run())
        running = asyncio.create_task(
            main.serve(
                replace(config, defaults=defaults),
                describe_host(config, Path(config.state_dir) / "jobs"),
                theirs,
                Exporting(extra),
                structlog.get_logger(),
            )
        )
        try:
            await first(supervisor.ready.wait(), running)
            *_, listening = (line for line in logged if line["event"] == "listening")
            yield Api(str(listening["address"]), authority, supervisor, logged, running)
        finally:
            supervisor.close()
            await asyncio.gather(answering, running)
            ours.close()

    return start


@pytest.fixture
async def api(start_api: StartApi) -> AsyncIterator[Api]:
    """A running API."""
    async with start_api() as running:
        yield running
