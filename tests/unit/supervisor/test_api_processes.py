"""Restarts of API processes, also on an exhausted host."""

import asyncio
import errno
import io
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, create_autospec

import pytest
from host_resources import descriptors, opened_since

from jobworkerd.config import Config, LoggingConfig
from jobworkerd.protocol.job_table import InputSession
from jobworkerd.protocol.messages import Certificates
from jobworkerd.protocol.metrics_session import MetricsSource
from jobworkerd.protocol.server import ApiConnection, ServerParts
from jobworkerd.supervisor.api_processes import ApiFailed, ApiProcesses
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.jobs import Jobs
from tests.unit.supervisor.faults import Faults

WITHIN_SECONDS = 30
START = subprocess.Popen


@dataclass
class Api:
    """The observed state of the processes."""

    started: "list[subprocess.Popen[bytes]]"
    connections: list[ApiConnection]
    log: io.StringIO

    def connected(self) -> int:
        return sum(connection._transport is not None for connection in self.connections)


@asynccontextmanager
async def serving(
    directory: Path, monkeypatch: pytest.MonkeyPatch, first: Sequence[str] = ()
) -> AsyncIterator[Api]:
    """Run cat(1) as the API process. It ends with its socket, too. The command `first` runs before it, and
    does not serve.
    """
    api = Api([], [], io.StringIO())

    def start(_argv: list[str], *, pass_fds: tuple[int, ...], **_: Any) -> "subprocess.Popen[bytes]":
        argv = first if first and not api.started else ["cat"]
        api.started.append(START(argv, stdin=pass_fds[1]))
        return api.started[-1]

    def connect(on_ready: Callable[[], None]) -> ApiConnection:
        if api.connections or not first:
            on_ready()
        connection = ApiConnection(
            create_autospec(Jobs),
            create_autospec(InputSession),
            ServerParts(lambda _: Certificates(), create_autospec(MetricsSource), AsyncMock(), AsyncMock()),
            on_ready=on_ready,
            on_fault=lambda *_: None,
        )
        api.connections.append(connection)
        return connection

    monkeypatch.setattr(subprocess, "Popen", start)
    apis = ApiProcesses(Config(), None, directory, EventLog(LoggingConfig(), api.log), connect)
    await apis.start()
    try:
        yield api
    finally:
        await apis.close(WITHIN_SECONDS)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while not holds():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN])
async def test_each_system_call_can_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    faults = Faults()
    async with serving(tmp_path, monkeypatch) as api:
        faults.install(monkeypatch.setattr)
        await until(lambda: api.connected() == 1)
        before, at, calls = descriptors(), -1, 1
        while at < calls:
            ended = api.started[-1]
            faults.arm(at, number)
            ended.kill()
            await until(lambda ended=ended: api.started[-1] is not ended and api.connected() == 1)  # type: ignore[misc]
            calls = max(calls, faults.calls)
            faults.disarm()
            assert not opened_since(before), f"call {at}: {faults.failed}"
            at += 1
        assert calls > 3
    assert "api process not started" in api.log.getvalue()
    assert all(child.returncode is not None for child in api.started)


async def test_a_process_that_is_killed_before_it_serves_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, ["sh", "-c", "kill -KILL $$"]) as api:
        assert len(api.started) == 2
        assert '"exit_code": -9' in api.log.getvalue()


@pytest.mark.parametrize("code", ["exit 1", "kill -SEGV $$"])
async def test_a_process_that_ends_by_itself_before_it_serves_fails_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    with pytest.raises(ApiFailed):
        async with serving(tmp_path, monkeypatch, ["sh", "-c", code]):
            raise AssertionError("the server has started")
