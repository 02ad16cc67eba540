"""The cost of records: CreateJob with the database, and a server with a million records."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from creation import measure
from restarts import supervisor
from result import Result

from jobworker.v1 import job_pb2, job_service_pb2
from jobworkerd.job_id import JobIds
from jobworkerd.model import (
    AppliedIsolation,
    AppliedLimit,
    Job,
    JobSpec,
    JobStatus,
    Limits,
    LimitsPolicy,
    Termination,
    TerminationReason,
    Usage,
)
from jobworkerd.records.database import open_database, transaction
from jobworkerd.records.writes import Save
from live import Server
from live_client import Client, client

HISTORY = 1_000_000
OWNERS = 10
LABELS = 1_000
"""Different values of the label, each of as many jobs."""
FAILED_SHARE = 100
"""One of this many jobs failed."""
INTERVAL_NS = 10**9
PAGE = 50

_BLOCKS = 20
_BLOCK = 100
"""Differences per block. One difference varies by 5 ms, so the table has the medians of blocks."""
_BATCH = 20_000
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


def fill(state_dir: Path) -> None:
    """Write a database with records of final jobs, one per second until now."""
    state_dir.mkdir(parents=True)
    connection = open_database(state_dir)
    for number in range(0, HISTORY, _BATCH):
        with transaction(connection):
            for job in _jobs(number, number + _BATCH):
                Save(job).execute(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _jobs(first: int, end: int) -> Iterator[Job]:
    """Return jobs as `/bin/true` leaves them."""
    start = time.time_ns() - HISTORY * INTERVAL_NS
    limits = Limits(max_cpu=100, max_memory=64, max_io_bps=0, max_pids=1024)
    spec = JobSpec(
        command="/bin/true",
        args=("--verbose", "argument"),
        limits=limits,
        limits_policy=LimitsPolicy.BEST_EFFORT,
        working_directory="/home/job",
        stop_signal=15,
        stop_grace_period=10.0,
        owner="",
    )
    limit = AppliedLimit(limit="max_cpu", in_force=True, file="cpu.max", value="100000 100000")
    part = AppliedIsolation(part="mount_namespace", in_force=True)
    figures = dict.fromkeys(Usage.__struct_fields__, 12_345)
    job = Job(
        id="",
        spec=spec,
        status=JobStatus.COMPLETED,
        create_time_ns=0,
        exit_code=0,
        termination=Termination(reason=TerminationReason.EXITED, message="exited with code 0"),
        applied_limits=(limit,) * 5,
        applied_isolation=(part,) * 7,
        usage=Usage(**figures),
    )
    for number in range(first, end):
        created = start + number * INTERVAL_NS
        failed = number % FAILED_SHARE == 0
        owner = f"CN=client {number % OWNERS},OU=Admin"
        yield msgspec.structs.replace(
            job,
            id=JobIds().new(created),
            spec=msgspec.structs.replace(spec, owner=owner, labels={"batch": f"{number % LABELS}"}),
            status=JobStatus.FAILED if failed else JobStatus.COMPLETED,
            exit_code=int(failed),
            create_time_ns=created,
            start_time_ns=created,
            end_time_ns=created + INTERVAL_NS,
        )


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
