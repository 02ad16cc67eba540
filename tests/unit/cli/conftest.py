"""Fixtures that run the command in a process against a scripted server."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from scripted_cluster import FakeCluster

from scripted import JOB_ID, CreateRequest, FakeServer, StopRequest, StreamRequest, play, until
from scripted_endpoint import Endpoint, authority, certs, cluster, endpoint, server
from scripted_messages import RESTARTING, Refusal, StreamMessage, end_by_signal, stderr, stdout

__all__ = [
    "JOB_ID",
    "RESTARTING",
    "Cli",
    "Completed",
    "CreateRequest",
    "Endpoint",
    "FakeCluster",
    "FakeServer",
    "Refusal",
    "StopRequest",
    "StreamMessage",
    "StreamRequest",
    "authority",
    "certs",
    "cluster",
    "end_by_signal",
    "endpoint",
    "finished",
    "play",
    "server",
    "stderr",
    "stdout",
    "until",
]


MODULE = ("-m", "jobworker_cli.main")


@dataclass(frozen=True)
class Completed:
    """The result of a command."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """The stdout, decoded."""
        return self.stdout.decode()


class Cli:
    """Runs `jobworker` with its own home directory, server and certificates."""

    def __init__(self, home: Path, server: str, certs: Path) -> None:
        self.certs = certs
        self.server = server
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "JOBWORKER_SERVER": server,
            "JOBWORKER_CERTS": str(certs),
        }
        self._processes: list[Process] = []

    async def start(
        self, *args: str, stdin: int = DEVNULL, stdout: int = PIPE, program: tuple[str, ...] = MODULE
    ) -> Process:
        """Start the command, or another `program`, and return the running process."""
        command = (sys.executable, *program, *args)
        process = await asyncio.create_subprocess_exec(
            *command, stdin=stdin, stdout=stdout, stderr=PIPE, env=self.env
        )
        self._processes.append(process)
        return process

    async def __call__(self, *args: str) -> Completed:
        """Run the command to its end."""
        return await finished(await self.start(*args))

    async def close(self) -> None:
        """Kill the processes of a failed test."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def finished(process: Process) -> Completed:
    """Wait for the end of a command."""
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Completed(process.returncode, out or b"", err.decode())


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Restore the default SIGINT handler, which a shell disables for background jobs (`&`)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
async def cli(endpoint: Endpoint, certs: Path, tmp_path: Path) -> AsyncIterator[Cli]:
    """Yield the command, configured for the scripted server."""
    cli = Cli(tmp_path, f"localhost:{endpoint.port}", certs)
    yield cli
    await cli.close()
