"""Call GetJob and a health check at a fixed rate, as another client of a server under attack.

`python prober.py ADDRESS CERTS_DIR NAME JOB_ID SECONDS` uses the certificate NAME. It prints `ready`, starts
at the first line of its standard input, and prints the milliseconds of all calls as JSON.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from live_client import credentials

_INTERVAL_SECONDS = 0.01
"""Time between two calls of each kind. A slow answer does not delay the next call, as with many clients."""

_TIMEOUT_SECONDS = 20

Call = Callable[[], Awaitable[object]]


async def _measure(call: Call, seconds: float) -> list[float]:
    """Make calls for some seconds and return the milliseconds of each."""
    taken: list[float] = []

    async def timed() -> None:
        start = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - start) * 1_000)

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds / _INTERVAL_SECONDS)):
            await asyncio.sleep(begin + number * _INTERVAL_SECONDS - time.perf_counter())
            group.create_task(timed())
    return taken


def _take_precedence() -> None:
    """Run before all other programs: a client on another host does not wait for a CPU of this host.

    The scheduler prefers the server to programs of other sessions, so the result would contain its own delay.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


async def _main(address: str, certs: Path, name: str, job_id: str, seconds: float) -> None:
    async with grpc.aio.secure_channel(address, credentials(certs, name)) as channel:
        jobs = job_service_pb2_grpc.JobServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)

        async def get() -> object:
            return await jobs.GetJob(job_service_pb2.GetJobRequest(id=job_id), timeout=_TIMEOUT_SECONDS)

        async def check() -> object:
            return await health.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_SECONDS)

        await get()
        await check()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        got, checked = await asyncio.gather(_measure(get, seconds), _measure(check, seconds))
    print(json.dumps({"GetJob": got, "health check": checked}))


if __name__ == "__main__":
    _take_precedence()
    uvloop.run(_main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5])))
