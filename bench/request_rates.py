"""Requests per second and the cost of long lists: the request cases of `make bench`."""

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

import grpc
from result import Result

from bare_server import SET_JOB_METHOD
from jobworker.v1 import job_pb2, job_service_pb2
from live import Server
from live_client import Client, client, credentials

RECORDS = 1_000
_ROUNDS = 8
_SECONDS = 1.5
_LISTS = 30


def rates(server: Server, bare_address: str) -> list[Result]:
    """Measure GetJob of a final and of a running job beside a bare server with a prepared response."""
    finished, running = asyncio.run(_jobs(server))
    results = []
    for name, job in (("a finished job", finished), ("a running job", running)):
        asyncio.run(_set_job(server, bare_address, job))
        rounds = [
            (_rate(bare_address, server.certs, job.id), _rate(server.address, server.certs, job.id))
            for _ in range(_ROUNDS)
        ]
        bare = statistics.median(bare for bare, _ in rounds)
        ratios = [ours / bare for bare, ours in rounds]
        bound = 0.75 if job is finished else None
        against = f"bare GetJob ({bare:,.0f} per second)"
        results.append(
            Result(f"GetJob of {name}, 100 in flight on 10 connections", against, ratios, "x", bound)
        )
    return results


async def _jobs(server: Server) -> tuple[job_pb2.Job, job_pb2.Job]:
    async with client(server, "admin") as admin:
        finished, _ = await admin.run("true")
        running = await admin.create("sleep", "600")
        return finished, await admin.get(running.id)


async def _set_job(server: Server, bare_address: str, job: job_pb2.Job) -> None:
    answer = job_service_pb2.GetJobResponse(job=job).SerializeToString()
    async with grpc.aio.secure_channel(bare_address, credentials(server.certs, "admin")) as channel:
        set_job: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SET_JOB_METHOD)
        await set_job(answer)


def _rate(address: str, certs: Path, job_id: str) -> float:
    """Return the responses per second that one client process received."""
    program = str(Path(__file__).with_name("requester.py"))
    argv = [sys.executable, program, address, str(certs), job_id, str(_SECONDS)]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


async def lists(server: Server) -> list[Result]:
    """Measure ListJobs of one page and of all jobs, and the delay of a call beside the latter."""
    async with client(server, "admin") as admin, client(server, "viewer") as other:
        await _fill(admin)
        page = await _list(admin, 50)
        everything = await _list(admin, RECORDS)
        beside = await _beside(admin, other)
    return [
        Result(f"ListJobs of 50 of {RECORDS:,} records", "-", page, "ms", 3, at_least=False),
        Result(f"ListJobs of {RECORDS:,} of {RECORDS:,} records", "-", everything, "ms", 40, at_least=False),
        Result(f"GetJob beside ListJobs of {RECORDS:,}", "-", beside, "ms", None, at_least=False),
    ]


async def _fill(admin: Client) -> None:
    async def run() -> None:
        for _ in range(RECORDS // 10):
            await admin.ended((await admin.create("true")).id)

    await asyncio.gather(*(run() for _ in range(10)))


async def _list(admin: Client, count: int) -> list[float]:
    """Return the milliseconds of each call."""
    taken = []
    for _ in range(_LISTS):
        start = time.perf_counter()
        answer = await admin.stub.ListJobs(job_service_pb2.ListJobsRequest(page_size=count))
        taken.append((time.perf_counter() - start) * 1_000)
        assert len(answer.jobs) == count
    return taken


async def _beside(admin: Client, other: Client) -> list[float]:
    """Return the milliseconds of GetJob calls while the server lists all jobs."""
    job_id = (await other.stub.ListJobs(job_service_pb2.ListJobsRequest(page_size=1))).jobs[0].id
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = admin.channel.unary_unary(
        "/jobworker.v1.JobService/ListJobs"
    )
    request = job_service_pb2.ListJobsRequest(page_size=RECORDS).SerializeToString()
    taken = []
    for _ in range(_LISTS):
        # Receive bytes, because parsing the list would delay this client, not the server.
        listing = asyncio.ensure_future(method(request))
        while not listing.done():
            start = time.perf_counter()
            await other.get(job_id)
            taken.append((time.perf_counter() - start) * 1_000)
        await listing
    return taken
