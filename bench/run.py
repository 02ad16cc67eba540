"""`make bench`: the cost of jobworker beside its bare parts, measured in one run.

`python run.py [GROUP...]` measures all groups of cases, prints the table and writes it to docs/benchmarks.md.
With group names it measures only those groups and does not change the page. The exit status is 1 if a bound
is missed.
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
from abuse import FEW_DESCRIPTORS, attacks, exhaustion
from attaching import attaching
from cluster import cluster_cases
from creation import creation, isolation
from history import HISTORY, database_cost, long_history
from otlp_receiver import OtlpReceiver
from recovery import KEEPER_JOBS, busy_recovery, keeper_memory, recovery, supervisor_recovery
from request_rates import RECORDS, lists, rates
from result import Result, table
from startup import startup
from streams import KEPT_JOBS, fairness, latency, memory, throughput, two_processes
from telemetry import EVERYTHING, telemetry_cost
from throughput import contention_with_limits, job_rates
from trickle import replays, trickle
from watching import watching
from web_page import web_page

from live import Server, make_certificates
from past_jobs import fill
from tests.cluster import whole

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
    """Run the bare server and yield its address."""
    argv = [sys.executable, str(Path(__file__).with_name("bare_server.py")), str(certs)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip()
        process.stdin.close()


@dataclass(frozen=True)
class Bench:
    """Resources that all groups of cases share."""

    certs: Path
    bare: str
    directory: Path

    def server(
        self, name: str, *flags: str, run_by: Sequence[str] = (), **env: str
    ) -> AbstractContextManager[Server]:
        """Start a server with a separate state directory."""
        return Server.started(BIN, self.certs, self.directory / name, *flags, run_by=run_by, **env)


def calls(bench: Bench) -> list[Result]:
    """Measure CreateJob, the latency of a line, watchers, and the recovery of a killed API process."""
    with bench.server("small") as server:
        results = [*asyncio.run(creation(server, bench.bare)), *latency(server)]
        results += trickle(server)
        results += asyncio.run(watching(server))
        results.append(asyncio.run(recovery(server)))
        with bench.server("plain", **NOT_ISOLATED) as plain:
            results.append(asyncio.run(isolation(server, plain)))
        with (
            OtlpReceiver.started() as receiver,
            bench.server("traced", **(receiver.variables | EVERYTHING)) as exporting,
        ):
            results.append(asyncio.run(telemetry_cost(exporting, server)))
    with bench.server("flood", JOBWORKERD_LOG_MAX_BYTES=str(1 << 28)) as server:
        results.append(fairness(server))
    return results


def jobs(bench: Bench) -> list[Result]:
    """Measure job throughput."""
    with bench.server("rates") as server:
        return [*job_rates(server), contention_with_limits(server)]


def streams(bench: Bench) -> list[Result]:
    """Measure logs and their readers, with a stall timeout that suits slow machines."""
    patient = {"JOBWORKERD_LOG_STALL_TIMEOUT": "600", "JOBWORKERD_RETENTION_MAX_JOBS": str(KEPT_JOBS)}
    with bench.server("memory", **patient) as server:
        results = asyncio.run(memory(server))
    with bench.server("one", **patient) as server:
        results += throughput(server, bench.bare, bench.directory / "scratch")
        results += replays(server, bench.bare)
        with bench.server("two", "--api-processes", "2", **patient) as two:
            results.append(two_processes(server, two))
    return results


def commands(bench: Bench) -> list[Result]:
    """Measure the command from start to exit."""
    with bench.server("startup") as server:
        return startup(BIN, server)


def requests(bench: Bench) -> list[Result]:
    """Measure requests per second and long lists."""
    with bench.server("requests", JOBWORKERD_RETENTION_MAX_JOBS=str(RECORDS * 2)) as server:
        return [*rates(server, bench.bare), *asyncio.run(lists(server))]


def history(bench: Bench) -> list[Result]:
    """Measure the database, and a server with a long history."""
    stub = str(Path(__file__).with_name("without_database"))
    with bench.server("recorded") as recorded:
        with bench.server("unrecorded", PYTHONPATH=stub) as unrecorded:
            results = [asyncio.run(database_cost(recorded, unrecorded))]
        fill(bench.directory / "long/state", HISTORY)
        keep = {"JOBWORKERD_RETENTION_MAX_JOBS": str(HISTORY * 2)}
        with bench.server("long", **keep) as long, bench.server("empty") as empty:
            return [*results, *asyncio.run(long_history(long, empty))]


def restarts(bench: Bench) -> list[Result]:
    """Measure the keeper, and the recovery of a killed supervisor."""
    with bench.server("restarts") as server:
        results = [asyncio.run(keeper_memory(server, KEEPER_JOBS)), *asyncio.run(supervisor_recovery(server))]
    with bench.server("busy") as server:
        return [*results, asyncio.run(busy_recovery(server))]


def abuse(bench: Bench) -> list[Result]:
    """Measure a server that clients attack."""
    with bench.server("attacked") as server:
        results = attacks(server)
    few = ("prlimit", f"--nofile={FEW_DESCRIPTORS}:{FEW_DESCRIPTORS}")
    with bench.server("cramped", run_by=few) as server:
        return [*results, *exhaustion(server)]


def attach(bench: Bench) -> list[Result]:
    """Measure interactive jobs."""
    with bench.server("attached") as server:
        return attaching(server, bench.bare)


def dashboard(bench: Bench) -> list[Result]:
    """Measure the dashboard, in Chromium."""
    subprocess.run([Path(__file__).parents[1] / "tools/chromium", "--setup"], check=True)
    with bench.server("dashboard", JOBWORKERD_LOG_STALL_TIMEOUT="600") as server:
        return web_page(server)


def cluster(bench: Bench) -> list[Result]:
    """Measure a cluster of three hosts with a control plane of Kubernetes."""
    with whole.running(bench.directory / "cluster") as running:
        return asyncio.run(cluster_cases(running))


GROUPS: Mapping[str, Callable[[Bench], list[Result]]] = {
    "calls": calls,
    "requests": requests,
    "jobs": jobs,
    "streams": streams,
    "commands": commands,
    "history": history,
    "restarts": restarts,
    "abuse": abuse,
    "attach": attach,
    "dashboard": dashboard,
    "cluster": cluster,
}


def measure(directory: Path, names: Sequence[str]) -> list[Result]:
    """Measure the named groups of cases."""
    certs = make_certificates(BIN, directory / "certs")
    with bare_server(certs) as bare:
        bench = Bench(certs, bare, directory)
        return [result for name in names for result in GROUPS[name](bench)]


def machine() -> str:
    """Describe the machine and the versions in one sentence."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {model[1] if model else platform.machine()}, "
        f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}, "
        f"grpcio {grpc.__version__}."
    )


def publish(measured: str) -> None:
    """Write the table between its marks in the page."""
    begin, end = MARKS
    before, _, rest = PAGE.read_text().partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{measured}{end}{after}")


def main() -> int:
    """Measure and print the table; publish it if all groups were measured."""
    named = sys.argv[1:]
    if unknown := [name for name in named if name not in GROUPS]:
        sys.exit(f"no such group of cases: {', '.join(unknown)}; the groups are {', '.join(GROUPS)}")
    # An installed server has its bytecode on disk, so the measured ones must be able to write it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="jobworker-bench-") as directory:
        results = measure(Path(directory), named or list(GROUPS))
    measured = f"{machine()}\n\n{table(results)}"
    print(measured, end="")
    if not named:
        publish(measured)
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
