"""Cut links and kill programs of a cluster while clients work, and check every promise.

CLUSTER_JOBS is the number of jobs (default: 500), CLUSTER_SECONDS the time of the faults (default: 150).
CLUSTER_SEED repeats the jobs and the order of the faults of an earlier run; the moments of the faults still
depend on the host.
"""

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import monotonic

import pytest

from jobworker.v1 import job_service_pb2
from tests.cluster.faults import report
from tests.cluster.faults.assignments import Assignments
from tests.cluster.faults.callers import Callers, connected
from tests.cluster.faults.injector import Injector
from tests.cluster.faults.ledger import Entry, Ledger
from tests.cluster.faults.oracle import GONE_SECONDS, Oracle
from tests.cluster.faults.plan import JobPlan
from tests.cluster.whole import Cluster

JOBS = int(os.environ.get("CLUSTER_JOBS", "500"))
SECONDS = float(os.environ.get("CLUSTER_SECONDS", "150"))
SEED = int(os.environ.get("CLUSTER_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
_FOLLOWED = 0.6
_PROBE_SECONDS = 0.1
_LIST_SECONDS = 1.0
_PODS = "/api/v1/namespaces/jobworker/pods"
_KEPT = Path(__file__).parents[3] / ".cache" / "cluster-faults"

pytestmark = pytest.mark.timeout(int(SECONDS) + 900)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """The ledger, which is reported at the end. Its journal remains."""
    kept, start = _KEPT / str(SEED), monotonic()
    kept.mkdir(parents=True, exist_ok=True)
    print(f"\nseed {SEED}; see {kept} for the journal", flush=True)
    with closing(Ledger(SEED, kept / "journal")) as opened:
        yield opened
        print("\n".join(report.lines(opened, monotonic() - start)), flush=True)


class Clients:
    """The clients of the run: they create the jobs in the time of the faults, and follow each in some way."""

    def __init__(self, callers: Callers, ledger: Ledger, runs: Path) -> None:
        self._callers = callers
        self._ledger = ledger
        self._runs = runs
        self._rng = random.Random(f"{ledger.seed}/clients")

    async def run(self) -> None:
        """Create all jobs, and wait until each is final."""
        async with asyncio.TaskGroup() as group:
            for number in range(JOBS):
                group.create_task(self._run_job(JobPlan.make(self._ledger.seed, number)))
                # The last jobs run while the last faults happen.
                await asyncio.sleep(self._rng.uniform(0, 2 * 0.9 * SECONDS / JOBS))

    async def probe(self) -> None:
        """Read records at random until cancelled: each gateway finds each accepted job at any time."""
        while True:
            if self._ledger.jobs:
                await self._callers.get(self._rng.choice(list(self._ledger.jobs.values())))
            await asyncio.sleep(_PROBE_SECONDS)

    async def probe_lists(self) -> None:
        """List all jobs at each gateway until cancelled: jobs that start and end meanwhile hide none."""
        while True:
            for number in range(self._callers.gateways):
                await self._callers.check_list(number)
                await self._callers.check_running(number)
                await asyncio.sleep(_LIST_SECONDS)

    async def _run_job(self, plan: JobPlan) -> None:
        entry = Entry(plan)
        await self._callers.create(entry, self._request(plan))
        if plan.stopped:
            await asyncio.sleep(self._rng.uniform(0, 10))
            await self._callers.stop(entry)
        # The log of a job with retry_on_lost begins again with each attempt.
        if self._rng.random() < _FOLLOWED and not plan.retries:
            await self._callers.follow(entry)
        await self._callers.wait(entry)

    def _request(self, plan: JobPlan) -> job_service_pb2.CreateJobRequest:
        return job_service_pb2.CreateJobRequest(
            command="bash",
            args=["-c", plan.script(self._runs)],
            max_cpu=plan.cpu,
            max_memory=32,
            request_id=plan.request_id,
            priority=plan.priority,
            retry_on_lost=plan.retries,
        )


async def _inject(injector: Injector, oracle: Oracle) -> None:
    """Inject the faults, and look for processes of final jobs while long jobs still run."""
    await injector.run(monotonic() + SECONDS)
    await asyncio.sleep(GONE_SECONDS)
    oracle.check_processes()


@asynccontextmanager
async def _during(*watches: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run watches meanwhile. One that has failed has checked nothing since, so it fails the test."""
    tasks = [asyncio.create_task(each) for each in watches]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def test_no_fault_breaks_a_promise(cluster: Cluster, ledger: Ledger) -> None:
    nodes = [host.server for host in cluster.hosts]
    async with (
        connected([gateway.server for gateway in cluster.gateways]) as gateways,
        connected(nodes) as stubs,
    ):
        callers = Callers(gateways, ledger)
        names = [host.name for host in cluster.hosts]
        oracle = Oracle(ledger, callers, dict(zip(names, stubs, strict=True)), cluster.runs)
        clients = Clients(callers, ledger, cluster.runs)
        apis = itertools.cycle(range(len(cluster.control_plane.apiservers)))
        async with _during(
            clients.probe(),
            clients.probe_lists(),
            oracle.watch_capacity(),
            Assignments(ledger).watch(lambda: cluster.api(next(apis)).items(_PODS)),
        ):
            async with asyncio.TaskGroup() as group:
                group.create_task(_inject(Injector(cluster, ledger), oracle))
                group.create_task(clients.run())
            await asyncio.to_thread(cluster.wait_until_ready)
            await oracle.wait_for_all()
            await asyncio.sleep(GONE_SECONDS)
            oracle.check_processes()
        await oracle.check_lists(gateways)
        await oracle.check_logs()
        oracle.check_executions()
        oracle.check_losses()
        oracle.check_records()
    assert len(ledger.jobs) == JOBS
    assert not ledger.violations
