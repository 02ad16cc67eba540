"""A hostile API process: the supervisor answers other API processes, and no error reaches its event loop."""

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobworkerd.metrics.instruments import Snapshot
from jobworkerd.model import JobSpec
from jobworkerd.protocol import framing, messages
from jobworkerd.protocol.input_messages import FeedInput
from jobworkerd.protocol.node_messages import RunJob
from jobworkerd.protocol.server import ApiConnection, ServerParts
from jobworkerd.supervisor.logins import Logins
from jobworkerd.supervisor.metrics_collection import MetricsCollection
from tests.fuzz.campaign import campaign
from tests.fuzz.mutations import mutated, values_of
from tests.unit.supervisor.job_table import Server, running_table

JOB_ID = "0199f3a0-0000-7000-8000-000000000001"

_SPEC = values_of(JobSpec).map(lambda spec: msgspec.structs.replace(spec, command="/nonexistent/true"))
"""These jobs are not isolated, so no command may run."""

_STARTS = st.builds(messages.StartJob, _SPEC) | st.builds(RunJob, st.text() | st.just(JOB_ID), _SPEC)
BODIES = values_of(messages.RequestBody).filter(lambda body: not isinstance(body, messages.StartJob | RunJob))
REQUESTS = st.builds(messages.Request, st.integers(-(2**63), 2**63 - 1), BODIES | _STARTS)
FRAMES = REQUESTS.map(framing.encode)
HOSTILE = st.lists(
    st.binary(max_size=100) | FRAMES | FRAMES.flatmap(mutated) | st.just(b"\xff" * 4) | st.just(b"\0\0\0\0"),
    max_size=5,
).map(b"".join)


class Supervisor:
    """A table of jobs, and the errors that reached the event loop."""

    def __init__(self, runner: asyncio.Runner, table: Server) -> None:
        self.runner = runner
        self.table = table
        self.uncaught: list[object] = []
        handle = lambda _, context: self.uncaught.append(context)  # noqa: E731
        runner.get_loop().set_exception_handler(handle)

    async def connect(self) -> socket.socket:
        """Return the end of a new API process."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the socket module's signature
        connection = ApiConnection(
            self.table.jobs,
            self.table.jobs.inputs.session(),
            ServerParts(
                lambda _: messages.Certificates(),
                MetricsCollection(lambda: Snapshot(0, ()), list),
                Logins(self.table.context.records.session_key).handle,
                self.table.cluster.handle,
            ),
            on_ready=lambda: None,
            on_fault=lambda *_: None,  # a fault is answered, and logged
        )
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=theirs)
        return ours

    async def is_answering(self) -> None:
        """Check that another API process gets an answer."""
        loop = asyncio.get_running_loop()
        with await self.connect() as sock:
            await loop.sock_sendall(sock, framing.encode(messages.Request(1, messages.Ping())))
            async with asyncio.timeout(5):
                assert await loop.sock_recv(sock, 1_000)


@pytest.fixture(scope="module")
def supervisor() -> Iterator[Supervisor]:
    """A table of jobs without isolation."""
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        context = running_table(Path(directory), faults=[])
        table = runner.run(context.__aenter__())
        try:
            yield Supervisor(runner, table)
        finally:
            runner.run(context.__aexit__(None, None, None))


@campaign
@example(data=framing.encode(messages.Request(1, FeedInput(1, 2**64 - 1, b"too far"))))
@given(data=HOSTILE)
def test_a_hostile_api_process(supervisor: Supervisor, data: bytes) -> None:
    async def attack() -> None:
        loop = asyncio.get_running_loop()
        with await supervisor.connect() as sock:
            await loop.sock_sendall(sock, data)
            await supervisor.is_answering()
            await asyncio.sleep(0.005)

    supervisor.runner.run(attack())
    # Each example is judged by its own errors, or the smallest one would be any other.
    uncaught, supervisor.uncaught = supervisor.uncaught, []
    assert not uncaught
