"""`make soak`: a thousand short jobs with a terminal. Each byte that they write is in their output."""

import asyncio
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobworker.v1 import job_pb2
from live import IDLE_PROCESSES, Server, eventually, make_certificates
from live_client import Client, client

BIN = Path(sys.executable).parent
JOBS, AT_ONCE, MOST_LINES = 1_000, 20, 3_000
TERMINAL = job_pb2.JobTerminal(columns=80, rows=24)

SCRIPTS = [
    "seq 1 {lines}; printf last",
    "seq 1 {lines} >&2; sh -c 'printf last >/dev/tty'",
    # Another process has the terminal open when the session leader ends.
    "sleep 600 & seq 1 {lines}; printf last",
    # The last process ends after the shell, in a separate session without the terminal.
    "setsid sh -c 'sleep 0.02; exec sleep 600' & seq 1 {lines}; printf last",
    "stty -echo raw -opost opost onlcr; seq 1 {lines}; printf last",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    certs = make_certificates(BIN, tmp_path_factory.mktemp("certs"))
    with Server.started(BIN, certs, tmp_path_factory.mktemp("state")) as started:
        yield started


async def check_one(admin: Client, chance: random.Random) -> None:
    """Run a job, and compare its output with what it wrote."""
    lines = chance.randint(1, MOST_LINES)
    script = chance.choice(SCRIPTS).format(lines=lines)
    job = await admin.create("sh", "-c", script, terminal=TERMINAL)
    await asyncio.sleep(chance.choice([0, 0, 0.05]))  # a reader from the start, or of a job that has ended
    output = (await admin.stream(job.id)).bytes()
    assert output == b"".join(b"%d\r\n" % number for number in range(1, lines + 1)) + b"last", script


async def test_all_output_of_short_terminals_is_seen(server: Server) -> None:
    chance, turns = random.Random(7), asyncio.Semaphore(AT_ONCE)

    async def checked(admin: Client) -> None:
        async with turns:
            await check_one(admin, chance)

    async with client(server, "admin") as admin:
        await admin.run("true")
        await eventually(lambda: len(server.descendants()) == IDLE_PROCESSES)
        before = server.supervisor.num_fds()
        async with asyncio.TaskGroup() as group:
            for _ in range(JOBS):
                group.create_task(checked(admin))
        await eventually(lambda: len(server.descendants()) == IDLE_PROCESSES)
        await eventually(lambda: server.supervisor.num_fds() <= before)
    assert server.job_cgroups() == []
    assert not server.has_event("fault")
