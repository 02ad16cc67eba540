"""`make bench`: what jobworker adds to the bare parts, measured side by side in one run.

Each round times every case once, in turn, so that what else the machine does falls on all alike.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc

from bare_server import METHOD
from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from live import Server, credentials, make_certificates

BIN = Path(sys.executable).parent
ROUNDS = 300
WARM_UP = 30
BOUND_MS = 3.0
"""CreateJob may take so much longer than a bare call and a bare spawn together."""

Case = Callable[[], Awaitable[None]]


@contextlib.contextmanager
def bare_server(certs: Path) -> Iterator[str]:
    """Runs the server that does nothing, and gives its address."""
    argv = [sys.executable, str(Path(__file__).with_name("bare_server.py")), str(certs)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip()
        process.stdin.close()


async def spawn() -> None:
    """Starts and reaps /bin/true."""
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


async def measure(cases: dict[str, Case]) -> dict[str, list[float]]:
    """Returns the milliseconds that each case took in each round."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(WARM_UP + ROUNDS):
        for name, case in cases.items():
            start = time.perf_counter()
            await case()
            if number >= WARM_UP:
                taken[name].append((time.perf_counter() - start) * 1000)
    return taken


async def run(server: Server, bare_address: str) -> int:
    """Measures and prints; returns the exit code."""
    admin = credentials(server.certs, "admin")
    async with (
        grpc.aio.secure_channel(bare_address, admin) as bare_channel,
        grpc.aio.secure_channel(server.address, admin) as channel,
    ):
        echo: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = bare_channel.unary_unary(METHOD)
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        request = job_service_pb2.CreateJobRequest(command="/bin/true", max_cpu=100, max_memory=64)

        async def bare() -> None:
            await echo(b"x" * 64)

        async def create() -> None:
            await stub.CreateJob(request)

        taken = await measure({"bare unary call": bare, "posix_spawn + wait": spawn, "CreateJob": create})
    return report(taken)


def report(taken: dict[str, list[float]]) -> int:
    """Prints a line a case, and whether CreateJob keeps its bound."""
    print(f"{'case':<22}{'p50 ms':>9}{'p10':>9}{'p90':>9}   ({ROUNDS} rounds, {os.cpu_count()} CPUs)")
    for name, values in taken.items():
        tenths = statistics.quantiles(values, n=10)
        print(f"{name:<22}{statistics.median(values):>9.2f}{tenths[0]:>9.2f}{tenths[8]:>9.2f}")
    bare = statistics.median(taken["bare unary call"]) + statistics.median(taken["posix_spawn + wait"])
    create = statistics.median(taken["CreateJob"])
    print(
        f"CreateJob is {create / bare:.2f} x both bare parts, {create - bare:+.2f} ms (bound {BOUND_MS} ms)"
    )
    return 0 if create - bare <= BOUND_MS else 1


def main() -> int:
    """Starts both servers, measures, and ends them."""
    with tempfile.TemporaryDirectory(prefix="jobworker-bench-") as directory:
        certs = make_certificates(BIN, Path(directory, "certs"))
        with bare_server(certs) as address, Server.started(BIN, certs, Path(directory, "state")) as server:
            return asyncio.run(run(server, address))


if __name__ == "__main__":
    sys.exit(main())
