"""The cost of small pieces of output: followers of a job that prints single bytes, and replays of its log."""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from result import Result
from streams import METHOD, Jobs, bare_rate, read_all, read_rate, rounds

from jobworker.v1 import job_service_pb2
from jobworkerd.logs.files import PAGE
from jobworkerd.logs.format import HEADER, RECORD
from live import Server

TRICKLE = (
    "import os, time\nnext = time.monotonic()\nwhile True:\n"
    " next += .001; time.sleep(max(0, next - time.monotonic())); os.write(1, b'x')"
)
"""Print a byte every millisecond."""

CONNECTIONS, SECONDS = 50, 10

REPLAYED = 4 << 20


def trickle(server: Server) -> list[Result]:
    """Measure the followers of a job that prints a byte every millisecond."""
    jobs, results = Jobs(server), []
    job = jobs.create("python3", "-c", TRICKLE)
    for count in (50, 200):
        found = _lags(server, job, count)
        p99 = statistics.quantiles(found, n=100)[98]
        case = f"a byte every ms, {count} followers on {CONNECTIONS} connections"
        results += [
            Result(f"{case}, p50", "-", [statistics.median(found)], "ms", None),
            Result(f"{case}, p99", "-", [p99], "ms", 20, at_least=False),
        ]
    jobs.stop(job)
    return results


def _lags(server: Server, job_id: str, count: int) -> list[float]:
    """Return the age in milliseconds of the oldest byte of each message at its arrival."""
    argv: list[str | Path] = [sys.executable, Path(__file__).with_name("followers.py"), server.address]
    argv += [server.certs, job_id, str(count), str(CONNECTIONS), str(SECONDS)]
    found = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return [float(line) for line in found.stdout.split()]


def replays(server: Server, bare: str) -> list[Result]:
    """Measure one reader of 4 MiB of single bytes: written to one stream, and alternately to both."""
    cases = {"a byte every ms": (1,), "a byte every ms, to both streams alternately": (1, 2)}
    return [result for name, sources in cases.items() for result in _replay(server, bare, name, sources)]


def _replay(server: Server, bare: str, name: str, sources: Sequence[int]) -> list[Result]:
    jobs = Jobs(server)
    job = jobs.create("head", "-c", str(REPLAYED), "/dev/zero")
    jobs.ended(job)
    assert server.state
    _write_index(server.state / "state/jobs" / job / "output.idx", sources)
    request = job_service_pb2.GetJobsStreamRequest(id=job, mixed_sources=True).SerializeToString()
    total, seconds = read_all(server.address, server.certs, METHOD, request, 1)
    ours = partial(read_rate, server.address, server.certs, METHOD, request, 1)
    again = rounds(5, ours, partial(bare_rate, bare, server.certs, total, 1))
    return [
        Result(f"replay of 4 MiB, {name}, first reader", "-", [REPLAYED / seconds / 1e6], "MB/s", None),
        Result(f"replay of 4 MiB, {name}, next readers", "bare stream of as much", again, "x", 0.85),
    ]


def _write_index(index: Path, sources: Sequence[int]) -> None:
    """Write the index of a log with one byte per millisecond, alternately from the sources."""
    begin = time.time_ns()
    with index.open("r+b") as file:
        file.seek(HEADER.size)
        for first in range(0, REPLAYED, PAGE):
            records = (
                RECORD.pack(offset, begin + offset * 1_000_000, 1, sources[offset % len(sources)])
                for offset in range(first, first + PAGE)
            )
            file.write(b"".join(records))
