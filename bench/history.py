"""The cost of records: CreateJob with the database, and a server with a million records."""

import statistics
import time

from creation import measure
from restarts import supervisor
from result import Result

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server
from live_client import Client, client
from past_jobs import INTERVAL_NS

HISTORY = 1_000_000
PAGE = 50

_BLOCKS = 20
_BLOCK = 100
"""Differences per block. One difference varies by 5 ms, so the table has the medians of blocks."""
_LISTS = 50
_MIB = 2**20


async def database_cost(recorded: Server, without: Server) -> Result:
    """Measure the cost of the database in CreateJob, by comparison with a server that keeps no records."""
    request = job_service_pb2.CreateJobRequest(command="/bin/true", max_cpu=100, max_memory=64)
    async with client(recorded, "admin") as one, client(without, "admin") as other:

        async def with_database() -> None:
            await one.stub.CreateJob(request)

        async def without_database() -> None:
            await other.stub.CreateJob(request)

        taken = await measure({"with": with_database, "without": without_database}, _BLOCKS * _BLOCK)
        assert await _recorded(one) > PAGE > await _recorded(other)
    plain = statistics.median(taken["without"])
    more = [ours - theirs for ours, theirs in zip(taken["with"], taken["without"], strict=True)]
    blocks = [statistics.median(more[first : first + _BLOCK]) for first in range(0, len(more), _BLOCK)]
    return Result(
        "CreateJob, database", f"without it ({plain:.2f} ms)", blocks, "ms more", 0.5, at_least=False
    )


async def _recorded(admin: Client) -> int:
    """Return the number of jobs in a long page."""
    return len((await admin.stub.ListJobs(job_service_pb2.ListJobsRequest(page_size=1_000))).jobs)


async def long_history(server: Server, empty: Server) -> list[Result]:
    """Measure pages of a long history, and the supervisor's memory beside a server without history."""
    async with client(server, "admin") as admin, client(empty, "admin") as other:
        page = job_service_pb2.ListJobsRequest
        filters = {
            "newest": await _list(admin, page()),
            "by time": await _list(admin, page(), old=True),
            "by status and time": await _list(admin, page(statuses=[job_pb2.JOB_STATUS_FAILED]), old=True),
            "by label and time": await _list(admin, page(labels={"batch": "7"}), old=True),
            "by owner and time": await _list(admin, page(owner="CN=client 3,OU=Admin"), old=True),
        }
        for each in (admin, other):
            for _ in range(_LISTS):
                await each.run("true")
                await each.stub.ListJobs(job_service_pb2.ListJobsRequest())
    case = f"ListJobs of {PAGE} of {HISTORY:,} records"
    pages = [
        Result(f"{case}, {name}, p50", "-", taken, "ms", 10, at_least=False)
        for name, taken in filters.items()
    ]
    return [*pages, _memory(server, empty)]


def _memory(server: Server, empty: Server) -> Result:
    used, plain = (supervisor(each).memory_info().rss / _MIB for each in (server, empty))
    against = f"an empty history ({plain:.1f} MiB)"
    case = f"memory of the supervisor, {HISTORY:,} records"
    return Result(case, against, [used - plain], "MiB more", 4, at_least=False)


async def _list(admin: Client, request: job_service_pb2.ListJobsRequest, *, old: bool = False) -> list[float]:
    """Return the milliseconds of each call; with `old`, of a page from the middle of the history."""
    request.page_size = PAGE
    if old:
        request.created_before.FromNanoseconds(time.time_ns() - HISTORY // 2 * INTERVAL_NS)
    taken = []
    for _ in range(_LISTS):
        start = time.perf_counter()
        answer = await admin.stub.ListJobs(request)
        taken.append((time.perf_counter() - start) * 1_000)
        assert len(answer.jobs) == PAGE
    return taken
