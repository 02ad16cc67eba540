"""Check that many queued jobs of several owners and priorities start in the documented order."""

import asyncio
import contextlib
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from restarts import LastingClient, kill_supervisor, lasting_client

from jobworker.v1 import job_pb2
from live import SLOW, Server, make_certificates

BIN = Path(sys.executable).parent
OWNERS = ("ann", "bob", "carl")
PRIORITIES = (-5, 0, 5)
MAX_JOBS = 4
JOBS = 60 if SLOW else 1_000
FOREVER = ("sleep", "100000")
HOUR = Duration(seconds=3_600)


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a certificate per owner."""
    directory = make_certificates(BIN, tmp_path_factory.mktemp("owners"))
    for name in OWNERS:
        flags = ("--role", "admin", "--dir", str(directory))
        subprocess.run([BIN / "jobworkerd", "certs", "issue", name, *flags], check=True, capture_output=True)
    return directory


@pytest.fixture
def busy_server(owners: Path, tmp_path: Path) -> Iterator[Server]:
    """Yield a server that runs few jobs at a time."""
    with Server.started(BIN, owners, tmp_path / "state", "--max-jobs", str(MAX_JOBS)) as started:
        yield started


class Model:
    """The documented order: priority, then the owner with the fewest running jobs, then age."""

    def __init__(self, queued: list[job_pb2.Job], running: list[job_pb2.Job]) -> None:
        self.queued = {job.id: job for job in queued}
        self.running = {job.id: job for job in running}

    def start(self) -> str:
        """Move the next job to the running ones and return its id."""
        counts = Counter(job.owner for job in self.running.values())
        job = min(self.queued.values(), key=lambda job: (-job.priority, counts[job.owner], job.id))
        self.running[job.id] = self.queued.pop(job.id)
        return job.id

    def order(self) -> list[str]:
        """Return the ids of the queued jobs in the order of their starts if no job ends."""
        copy = Model([*self.queued.values()], [*self.running.values()])
        return [copy.start() for _ in range(len(self.queued))]


@contextlib.asynccontextmanager
async def clients(server: Server) -> AsyncIterator[dict[str, LastingClient]]:
    """Connect as each owner."""
    async with contextlib.AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(lasting_client(server, name)) for name in OWNERS}


async def create_many(by_owner: dict[str, LastingClient], chance: random.Random) -> list[job_pb2.Job]:
    """Create queued jobs, some of them at the same time."""
    limit = asyncio.Semaphore(16)

    async def create(owner: str, priority: int) -> job_pb2.Job:
        async with limit:
            return await by_owner[owner].create(*FOREVER, priority=priority, queue_timeout=HOUR)

    choices = [(chance.choice(OWNERS), chance.choice(PRIORITIES)) for _ in range(JOBS)]
    return list(await asyncio.gather(*(create(*choice) for choice in choices)))


async def running(client: LastingClient, job_id: str) -> None:
    """Wait until a job runs."""
    async with asyncio.timeout(30):
        while (await client.get(job_id)).status != job_pb2.JOB_STATUS_RUNNING:
            await asyncio.sleep(0.002)


async def replace_one(client: LastingClient, model: Model, chance: random.Random) -> str:
    """Stop one of the running jobs, and wait until the job starts that the model names."""
    stopped = chance.choice(sorted(model.running))
    await client.stop(stopped, seconds=0)
    del model.running[stopped]
    started = model.start()
    await running(client, started)
    return started


async def queue_of(client: LastingClient) -> list[job_pb2.Job]:
    """Return the queued jobs by position."""
    jobs = await client.list(statuses=[job_pb2.JOB_STATUS_QUEUED])
    return sorted(jobs, key=lambda job: job.queue_position)


async def test_many_jobs_start_in_the_documented_order_whatever_restarts(busy_server: Server) -> None:
    chance = random.Random(14)
    async with clients(busy_server) as by_owner:
        first = [await by_owner["ann"].create(*FOREVER) for _ in range(MAX_JOBS)]
        created = await create_many(by_owner, chance)
        assert {job.status for job in created} == {job_pb2.JOB_STATUS_QUEUED}
        model = Model(created, first)
        queue = await queue_of(by_owner["ann"])
        assert [job.queue_position for job in queue] == list(range(1, JOBS + 1))
        assert [job.id for job in queue] == model.order()
        order = [await replace_one(by_owner["bob"], model, chance) for _ in range(JOBS // 4)]
        await kill_supervisor(busy_server)
        assert [job.id for job in await queue_of(by_owner["ann"])] == model.order()
        order += [await replace_one(by_owner["bob"], model, chance) for _ in range(JOBS // 4)]
    assert busy_server.stop() == 0
    busy_server.launch()
    model.running.clear()
    async with clients(busy_server) as by_owner:
        order += [model.start() for _ in range(MAX_JOBS)]
        for job_id in order[-MAX_JOBS:]:
            await running(by_owner["ann"], job_id)
        assert [job.id for job in await queue_of(by_owner["ann"])] == model.order()
        order += [await replace_one(by_owner["carl"], model, chance) for _ in range(len(model.queued))]
        listed = await by_owner["ann"].list()
        started = sorted(listed, key=lambda job: job.start_time.ToNanoseconds())[MAX_JOBS:]
        assert [job.id for job in started] == order
        assert len(order) == JOBS
