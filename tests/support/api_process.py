"""Runs the API process as the supervisor does, with a scripted supervisor at its socket."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from api_server import JOB_ID, Authority, Client, ScriptedSupervisor, eventually
from certificates import Issued

from jobworker.v1 import job_service_pb2
from jobworkerd.config import Config, to_json

Event = dict[str, object]


@dataclass
class Started:
    """A process, its stderr so far, and the supervisor at its socket."""

    process: Process
    supervisor: ScriptedSupervisor
    lines: list[str] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        """The logged events; every line of stderr must be JSON."""
        return [json.loads(line) for line in self.lines]

    def event(self, name: str) -> Event | None:
        """Return the first event with a name."""
        return next((event for event in self.events if event["event"] == name), None)

    async def address(self) -> str:
        """Return the listen address when the process is ready."""
        await asyncio.wait_for(self.supervisor.ready.wait(), 20)
        # The event arrives on another channel, perhaps later.
        await eventually(lambda: self.event("listening"))
        event = self.event("listening")
        assert event
        return str(event["address"])

    async def end(self) -> int:
        """Close the socket and return the exit code."""
        self.supervisor.close()
        return await asyncio.wait_for(self.process.wait(), 20)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Started]]


def starter() -> Start:
    """Return a function that starts an API process, or another program instead."""

    @contextlib.asynccontextmanager
    async def start_process(
        config: Config, program: Sequence[str] = ("-m", "jobworkerd.api"), **environment: str
    ) -> AsyncIterator[Started]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the socket module's signature
        memory = os.memfd_create("config")
        os.write(memory, to_json(config))
        jobs = os.open(config.state_dir, os.O_PATH)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *program),
                *("--config-fd", str(memory), "--socket-fd", str(theirs.fileno()), "--jobs-fd", str(jobs)),
                pass_fds=(memory, theirs.fileno(), jobs),
                stdout=PIPE,
                stderr=PIPE,
                env={**os.environ, **environment},
            )
        os.close(memory)
        os.close(jobs)
        started = Started(process, ScriptedSupervisor(ours, Path(config.certs_dir)))
        tasks = asyncio.gather(started.supervisor.run(), _read(process, started.lines))
        try:
            yield started
        finally:
            await started.end()
            await tasks
            ours.close()

    return start_process


async def _read(process: Process, lines: list[str]) -> None:
    assert process.stderr
    while line := await process.stderr.readline():
        lines.append(line.decode())


@contextlib.asynccontextmanager
async def connected(
    address: str, authority: Authority, certificate: Issued | None = None
) -> AsyncIterator[Client]:
    """Connect as an admin, or with the given certificate."""
    if certificate is None:
        leaf = authority.client("alice", "Admin")
        certificate = Issued(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())
    credentials = grpc.ssl_channel_credentials(
        authority.ca.cert_pem.bytes(), certificate.key, certificate.certificate
    )
    async with grpc.aio.secure_channel(address, credentials) as channel:
        yield Client(channel)


async def get(client: Client, *, wait_for_ready: bool = False) -> str:
    """Return the id of a job; with `wait_for_ready` the client reconnects after a failure."""
    request = job_service_pb2.GetJobRequest(id=JOB_ID)
    return (await client.stub.GetJob(request, timeout=20, wait_for_ready=wait_for_ready)).job.id


async def failure(start: Start, config: Config, **environment: str) -> str:
    """Return the logged reason why the process cannot start; it must exit with 1."""
    async with start(config, **environment) as started:
        assert await asyncio.wait_for(started.process.wait(), 20) == 1
    (event,) = started.events
    assert (event["event"], event["level"]) == ("cannot start", "error")
    return str(event["reason"])
