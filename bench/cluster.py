"""Jobs of a cluster of three hosts on this machine: the time until they start, and jobs per second."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import psutil
from result import Result

from jobworker.v1 import job_pb2
from live_client import Client, client
from tests.cluster.whole import Cluster

ROUNDS = 100
WARM_UP = 10
CLIENTS = 16
JOBS = 480
LIMITS = {"max_cpu": 10, "max_memory": 16}
"""Three hosts with 400 % of a core run 120 such jobs at once."""

_MB = 1 << 20


async def cluster_cases(cluster: Cluster) -> list[Result]:
    """Measure an idle cluster, then one with many jobs."""
    async with client(cluster.gateway.server, "admin") as admin:
        created, started = await _one_at_a_time(admin)
    accepted, drained = await _many(cluster)
    tenths = statistics.quantiles(started, n=10)
    return [
        Result("CreateJob at a gateway", "-", created, "ms", None),
        Result("job of a cluster, CreateJob called to started", "-", started, "ms", 60.0, at_least=False),
        Result("the same, slowest tenth", "-", [tenths[8]], "ms", None),
        Result(f"jobs accepted by a gateway, {CLIENTS} clients", "-", [accepted], "jobs/s", 100.0),
        Result("jobs run by three hosts, first call to last end", "-", [drained], "jobs/s", None),
        *_memory(cluster),
    ]


async def _one_at_a_time(admin: Client) -> tuple[Sequence[float], Sequence[float]]:
    """Return the milliseconds of each CreateJob, and those until each job has started."""
    created: list[float] = []
    started: list[float] = []
    for number in range(WARM_UP + ROUNDS):
        start, wall = time.perf_counter(), time.time()
        job = await admin.create("true", **LIMITS)
        taken = time.perf_counter() - start
        ended = await admin.ended(job.id)
        if number >= WARM_UP:
            created.append(taken * 1000)
            started.append((ended.start_time.ToNanoseconds() / 1e9 - wall) * 1000)
    return created, started


async def _many(cluster: Cluster) -> tuple[float, float]:
    """Return the jobs that a gateway accepts per second, and those that the hosts run per second."""
    async with AsyncExitStack() as stack:
        server = cluster.gateway.server
        clients = [await stack.enter_async_context(client(server, "admin")) for _ in range(CLIENTS)]
        await asyncio.gather(*(each.create("true", **LIMITS) for each in clients))
        start, wall = time.perf_counter(), time.time()
        batches = await asyncio.gather(*(_create(each, JOBS // CLIENTS) for each in clients))
        accepted = JOBS / (time.perf_counter() - start)
        ended = [await clients[0].ended(job.id) for batch in batches for job in batch]
    last = max(job.end_time.ToNanoseconds() for job in ended) / 1e9
    return accepted, JOBS / (last - wall)


async def _create(each: Client, count: int) -> list[job_pb2.Job]:
    return [await each.create("true", **LIMITS) for _ in range(count)]


def _memory(cluster: Cluster) -> list[Result]:
    services = {"gateway": cluster.gateway.service, "agent": cluster.hosts[0].agent}
    return [
        Result(f"memory of the {name} after that", "-", [_rss(service.pid)], "MiB", None)
        for name, service in services.items()
    ]


def _rss(pid: int | None) -> float:
    assert pid
    return float(psutil.Process(pid).memory_info().rss / _MB)
