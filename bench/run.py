"""`make bench`: what jobworker adds to the bare parts, measured side by side in one run.

`python run.py [GROUP...]` measures all groups of cases, prints the table and puts it into
docs/benchmarks.md. With groups named it measures only those, and the page stays as it is. It ends with 1 if
a bound is missed.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import grpc
from creation import creation, isolation
from recovery import recovery
from request_rates import RECORDS, lists, rates
from result import Result, table
from startup import startup
from streams import KEPT_JOBS, fairness, latency, memory, throughput, two_processes
from throughput import contention_with_limits, job_rates
from trickle import replays, trickle

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


@dataclass(frozen=True)
class Bench:
    """What all groups of cases share."""

    certs: Path
    bare: str
    directory: Path

    def server(self, name: str, *flags: str, **env: str) -> AbstractContextManager[Server]:
        """Starts a server with a state directory of its own."""
        return Server.started(BIN, self.certs, self.directory / name, *flags, **env)


def calls(bench: Bench) -> list[Result]:
    """CreateJob, a line's way to its reader, and an API process that is killed."""
    with bench.server("small") as server:
        results = [*asyncio.run(creation(server, bench.bare)), *latency(server)]
        results += trickle(server)
        results.append(asyncio.run(recovery(server)))
        with bench.server("plain", **NOT_ISOLATED) as plain:
            results.append(asyncio.run(isolation(server, plain)))
    with bench.server("flood", JOBWORKERD_LOG_MAX_BYTES=str(1 << 28)) as server:
        results.append(fairness(server))
    return results


def jobs(bench: Bench) -> list[Result]:
    """Job throughput."""
    with bench.server("rates") as server:
        return [*job_rates(server), contention_with_limits(server)]


def streams(bench: Bench) -> list[Result]:
    """Logs and their readers: readers that the machine is too slow for are not cut off."""
    patient = {"JOBWORKERD_LOG_STALL_TIMEOUT": "600", "JOBWORKERD_KEEP_JOBS": str(KEPT_JOBS)}
    with bench.server("memory", **patient) as server:
        results = asyncio.run(memory(server))
    with bench.server("one", **patient) as server:
        results += throughput(server, bench.bare, bench.directory / "scratch")
        results += replays(server, bench.bare)
        with bench.server("two", "--api-processes", "2", **patient) as two:
            results.append(two_processes(server, two))
    return results


def commands(bench: Bench) -> list[Result]:
    """The command, from its start to its exit."""
    with bench.server("startup") as server:
        return startup(BIN, server)


def requests(bench: Bench) -> list[Result]:
    """Requests per second, and lists of many records."""
    with bench.server("requests", JOBWORKERD_KEEP_JOBS=str(RECORDS * 2)) as server:
        return [*rates(server, bench.bare), *asyncio.run(lists(server))]


GROUPS: Mapping[str, Callable[[Bench], list[Result]]] = {
    "calls": calls,
    "requests": requests,
    "jobs": jobs,
    "streams": streams,
    "commands": commands,
}


def measure(directory: Path, names: Sequence[str]) -> list[Result]:
    """Measures groups of cases."""
    certs = make_certificates(BIN, directory / "certs")
    with bare_server(certs) as bare:
        bench = Bench(certs, bare, directory)
        return [result for name in names for result in GROUPS[name](bench)]


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
    """Measures and prints; publishes a whole run."""
    named = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="jobworker-bench-") as directory:
        results = measure(Path(directory), named or list(GROUPS))
    measured = f"{machine()}\n\n{table(results)}"
    print(measured, end="")
    if not named:
        publish(measured)
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
