"""`make soak-faults`: kill and reload parts of the server while clients work, and check every promise.

SOAK_SECONDS bounds the time of the faults (default: 600). SOAK_SEED repeats the jobs and the order of the
faults of an earlier run; the moments of the faults still depend on the host.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from time import monotonic

import pytest

from jobworker_client.aio.client import Client
from live import Server, make_certificates, seen_by_jobs
from tests.soak.faults import report
from tests.soak.faults.aftermath import Aftermath
from tests.soak.faults.calls import Calls
from tests.soak.faults.injector import Injector
from tests.soak.faults.ledger import Ledger
from tests.soak.faults.parts import Held, Memory
from tests.soak.faults.patience import BACK_SECONDS
from tests.soak.faults.plan import JobFiles, Kind
from tests.soak.faults.queue_order import check_queue
from tests.soak.faults.server_log import check_log
from tests.soak.faults.state_disk import StateDisk
from tests.soak.faults.worker import Numbers, Worker

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[3]
SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
MAX_JOBS = 20
_NOISY_JOBS = 6
_FIRST_USER = 1_710_000_000 + os.getpid() % 10_000 * 1_000
USERS = range(_FIRST_USER, _FIRST_USER + 600)
"""Other servers on this host, and other runs of this test, use other ranges."""

_OWNERS = {"few-jobs": 2, "some-jobs": 5}
"""Owners with a small number of the 20 clients, so that their waiting jobs often go first."""

pytestmark = [pytest.mark.root, pytest.mark.timeout(int(SECONDS) + 900)]


@pytest.fixture
def files() -> Iterator[JobFiles]:
    """The files of all jobs, outside of the control of the server."""
    with seen_by_jobs() as directory:
        yield JobFiles.make(directory, SEED)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[StateDisk]:
    """The disk of the server's state."""
    with StateDisk.mounted(tmp_path / "server" / "state") as mounted:
        yield mounted


@pytest.fixture
def server(tmp_path: Path, files: JobFiles, disk: StateDisk) -> Iterator[Server]:
    """The server."""
    settings = {
        "JOBWORKERD_ISOLATION_FIRST_UID": str(USERS.start),
        "JOBWORKERD_ISOLATION_UID_COUNT": str(len(USERS)),
        "JOBWORKERD_ISOLATION_WRITABLE_PATHS": str(files.runs.parent),
        "JOBWORKERD_MAX_JOBS": str(MAX_JOBS),
        "JOBWORKERD_API_PROCESSES": "2",
        "JOBWORKERD_LOG_STALL_TIMEOUT": "600",
    }
    certs = make_certificates(BIN, tmp_path / "certs")
    for owner in _OWNERS:
        issue: list[str | Path] = [
            BIN / "jobworkerd",
            "certs",
            "issue",
            owner,
            "--role",
            "admin",
            "--dir",
            certs,
        ]
        subprocess.run(issue, check=True, capture_output=True)
    with Server.started(BIN, certs, disk.path.parent, **settings) as started:
        yield started


def _owners(clients: int) -> list[str]:
    """Return the owner of the jobs of each client."""
    others = [owner for owner, count in _OWNERS.items() for _ in range(count)]
    return [*others, *["admin"] * clients][:clients]


class Run:
    """One run: the clients, the faults, and the checks at the end."""

    def __init__(self, server: Server, disk: StateDisk, files: JobFiles, ledger: Ledger) -> None:
        self._server = server
        self._disk = disk
        self._files = files
        self._ledger = ledger
        self._numbers = Numbers()

    async def run(self, seconds: float, *, clients: int, steps_clock: bool) -> None:
        """Run for some seconds, then check everything."""
        async with AsyncExitStack() as stack:
            workers = [
                self._worker(await self._client(stack, owner), name)
                for name, owner in enumerate(_owners(clients))
            ]
            probe = Calls(await self._client(stack, "admin"), self._ledger, self._files, random.Random(0))

            def create_jobs(kind: Kind | None) -> None:
                for worker in workers[:_NOISY_JOBS] if kind is Kind.NOISY else workers:
                    worker.create_now(kind)

            injector = Injector(
                self._server, self._disk, probe, self._ledger, create_jobs, steps_clock=steps_clock
            )
            before, memory = await self._warm_up(workers), Memory.by(self._server)
            until = monotonic() + seconds
            async with asyncio.TaskGroup() as group:
                group.create_task(injector.run(until))
                for worker in workers:
                    group.create_task(worker.run(until))
            after = Aftermath(self._server, self._ledger, self._files, workers)
            await after.end_jobs()
            await after.check_jobs()
            if not steps_clock:
                check_queue(self._ledger)
            await after.check_memory(memory)
            await after.delete_jobs()
            await after.check_held(before)
        self._server.stop()
        assert self._server.log
        check_log(self._server.log.read_text(errors="replace").splitlines(), self._ledger)
        Aftermath(self._server, self._ledger, self._files, []).check_stopped(USERS, self._disk.path)

    async def _client(self, stack: AsyncExitStack, role: str) -> Client:
        address, certs = self._server.address, self._server.certs
        client = Client.from_directory(certs, server=address, role=role, deadline=BACK_SECONDS)
        return await stack.enter_async_context(client)

    def _worker(self, client: Client, name: int) -> Worker:
        return Worker(name, client, self._ledger, self._files, self._numbers, queues=True)

    async def _warm_up(self, workers: list[Worker]) -> Held:
        """Run some jobs and return what the server then holds without a job."""
        after = Aftermath(self._server, self._ledger, self._files, workers)
        for worker in workers:
            await worker.run_one()
        await after.end_jobs()
        await after.delete_jobs()
        return await after.settled()


@pytest.fixture
def ledger(server: Server) -> Iterator[Ledger]:
    """The ledger, which is reported at the end. Its journal and the server's log remain."""
    kept, start = ROOT / ".cache" / "soak" / str(SEED), monotonic()
    kept.mkdir(parents=True, exist_ok=True)
    print(f"seed {SEED}; see {kept} for the journal and the log of the server", flush=True)
    with closing(Ledger(SEED, kept / "journal")) as opened:
        yield opened
        assert server.log
        shutil.copy(server.log, kept / "server.log")
        seconds = monotonic() - start
        print("\n".join([*report.lines(opened, seconds), "", *report.table(opened, seconds)]))


async def test_no_fault_breaks_a_promise(
    server: Server, disk: StateDisk, files: JobFiles, ledger: Ledger
) -> None:
    await Run(server, disk, files, ledger).run(SECONDS, clients=20, steps_clock=False)
    assert not ledger.violations


@pytest.mark.own_kernel
async def test_no_fault_with_a_stepped_clock_breaks_a_promise(
    server: Server, disk: StateDisk, files: JobFiles, ledger: Ledger
) -> None:
    await Run(server, disk, files, ledger).run(min(SECONDS, 120), clients=3, steps_clock=True)
    assert not ledger.violations
