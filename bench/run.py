"""`make bench`: what jobworker adds to the bare parts, measured side by side in one run.

Prints the table and puts it into docs/benchmarks.md; ends with 1 if a bound is missed.
"""

import asyncio
import contextlib
import datetime as dt
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
from creation import creation, isolation
from recovery import recovery
from result import Result, table
from streams import KEPT_JOBS, fairness, latency, memory, throughput, two_processes

from live import Server, make_certificates

BIN = Path(sys.executable).parent
PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
MARKS = ("<!-- measured by make bench: begin -->", "<!-- measured by make bench: end -->")


NOT_ISOLATED = {
    "JOBWORKERD_ISOLATION_RUN_AS": "server",
    "JOBWORKERD_ISOLATION_MOUNT_NAMESPACE": "false",
    "JOBWORKERD_ISOLATION_PID_NAMESPACE": "false",
    "JOBWORKERD_ISOLATION_IPC_NAMESPACE": "false",
    "JOBWORKERD_ISOLATION_UTS_NAMESPACE": "false",
    "JOBWORKERD_ISOLATION_NO_NEW_PRIVILEGES": "false",
}


@contextlib.contextmanager
def bare_server(certs: Path) -> Iterator[str]:
    """Runs the server that does nothing, and gives its address."""
    argv = [sys.executable, str(Path(__file__).with_name("bare_server.py")), str(certs)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip()
        process.stdin.close()


def measure(directory: Path) -> list[Result]:
    """Starts the servers, measures, and ends them.

    Readers that the machine is too slow for are not what is measured here, so none is cut off.
    """
    certs = make_certificates(BIN, directory / "certs")
    patient = {"JOBWORKERD_LOG_STALL_TIMEOUT": "600", "JOBWORKERD_KEEP_JOBS": str(KEPT_JOBS)}
    results = []
    with bare_server(certs) as bare:
        with Server.started(BIN, certs, directory / "small") as server:
            results += asyncio.run(creation(server, bare))
            results += latency(server)
            results.append(asyncio.run(recovery(server)))
            with Server.started(BIN, certs, directory / "plain", **NOT_ISOLATED) as plain:
                results.append(asyncio.run(isolation(server, plain)))
        with Server.started(BIN, certs, directory / "flood", JOBWORKERD_LOG_MAX_BYTES=str(1 << 28)) as server:
            results.append(fairness(server))
        with Server.started(BIN, certs, directory / "memory", **patient) as server:
            results += asyncio.run(memory(server))
        with Server.started(BIN, certs, directory / "one", **patient) as server:
            results += throughput(server, bare, directory / "scratch")
            with Server.started(BIN, certs, directory / "two", "--api-processes", "2", **patient) as two:
                results.append(two_processes(server, two))
    return results


def machine() -> str:
    """Returns what the figures depend on, in one sentence."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {model[1] if model else platform.machine()}, "
        f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}, "
        f"grpcio {grpc.__version__}."
    )


def publish(measured: str) -> None:
    """Puts the table between its marks in the page."""
    begin, end = MARKS
    before, _, rest = PAGE.read_text().partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{measured}{end}{after}")


def main() -> int:
    """Measures, prints and publishes."""
    with tempfile.TemporaryDirectory(prefix="jobworker-bench-") as directory:
        results = measure(Path(directory))
    measured = f"{machine()}\n\n{table(results)}"
    print(measured, end="")
    publish(measured)
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
