"""Measures interactive jobs: how soon a key is echoed, and the throughput of stdin."""

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

from feeder import Call, read
from result import Result

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from live import Server
from live_client import Client, client

KEYS = 500
INTERVAL_SECONDS = 0.01
MIB = 1 << 20
TOTAL = 256 * MIB
ROUNDS = 5


def attaching(server: Server, bare: str) -> list[Result]:
    """Measure the echo of keys, and the throughput beside a bare client stream."""
    delays = asyncio.run(_echoes(server))
    ratios, rates = asyncio.run(_throughput(server, bare))
    percentiles = statistics.quantiles(delays, n=100)
    against = f"bare client stream ({statistics.median(rates):,.0f} MiB/s)"
    return [
        Result("key typed to echo seen, p50", "-", [percentiles[49]], "ms", 3, at_least=False),
        Result("key typed to echo seen, p99", "-", [percentiles[98]], "ms", 20, at_least=False),
        Result("stdin of a job", against, ratios, "x", 0.6),
    ]


async def _echoes(server: Server) -> list[float]:
    """Return the milliseconds from each key until the client has its echo."""
    async with client(server, "admin") as admin:
        job = await admin.create("cat", terminal=job_pb2.JobTerminal(columns=80, rows=24))
        call = admin.stub.AttachJob()
        start = job_attach_pb2.AttachStart(id=job.id, input_id="keys")
        await call.write(job_service_pb2.AttachJobRequest(start=start))
        await _answered(call, echoed=True)
        delays = []
        for offset in range(KEYS):
            await asyncio.sleep(INTERVAL_SECONDS)
            delays.append(await _type(call, offset))
        call.cancel()
        await admin.stop(job.id, seconds=0)
    return delays


async def _type(call: Call, offset: int) -> float:
    """Type a key, and return the milliseconds until its echo."""
    key = job_attach_pb2.InputChunk(offset=offset, data=b"\n" if offset % 80 == 79 else b"x")
    begin = time.perf_counter()
    await call.write(job_service_pb2.AttachJobRequest(input=key))
    return (await _answered(call) - begin) * 1e3


async def _answered(call: Call, *, echoed: bool = False) -> float:
    """Wait until the input is accepted and echoed, and return the time of the echo."""
    seen, accepted = 0.0, False
    while not (accepted and (seen or echoed)):
        message = await read(call)
        accepted = accepted or message.HasField("input_accepted")
        if message.output.payload:
            seen = seen or time.perf_counter()
    return seen


async def _throughput(server: Server, bare: str) -> tuple[list[float], list[float]]:
    """Return the ratio of each round, and the MiB per second of the bare stream."""
    ratios, rates = [], []
    async with client(server, "admin") as admin:
        for _ in range(ROUNDS):
            rate = _rate(server, bare)
            ratios.append(_rate(server, server.address, await _reader(admin)) / rate)
            rates.append(rate)
    return ratios, rates


async def _reader(admin: Client) -> str:
    """Start a job that reads its stdin to its end, and return its id."""
    script = "exec cat >/dev/null"
    job = await admin.create("sh", "-c", script, stdin=job_pb2.JOB_STDIN_ONCE, max_cpu=400, max_memory=64)
    return job.id


def _rate(server: Server, address: str, *job_id: str) -> float:
    """Return the MiB per second that a separate process sends."""
    program = str(Path(__file__).with_name("feeder.py"))
    argv = [sys.executable, program, address, str(server.certs), str(TOTAL), *job_id]
    seconds = float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return TOTAL / MIB / seconds
