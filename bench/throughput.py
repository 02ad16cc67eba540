"""Jobs per second, alone and beside busy jobs, and CPU time per job."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from creation import measure, spawn
from result import Result
from streams import Jobs

from live import Server, make_certificates, mounted

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

CLIENTS = 16
JOBS = 480
JOBS_BESIDE_BUSY = 160
BUSY = ("sh", "-c", "while :; do :; done")
BUSY_JOBS = 8
ROUNDS = 3

CONTENDERS = 40
"""Busy jobs of the contention case."""
CONTENTION = 1.5
SINGLE_JOBS = 25
"""CreateJob calls of the contention case, one at a time."""


@dataclass(frozen=True)
class Run:
    """Result of a run; `cpu_ms` is the CPU time of all processes per job."""

    jobs_per_second: float
    cpu_ms: float
    create_ms: Sequence[float]


def create(server: Server, clients: int, jobs: int) -> Run:
    """Create jobs from clients in another process, and return when all jobs are final."""
    argv: list[str | Path] = [sys.executable, Path(__file__).with_name("creator.py"), server.address]
    argv += [server.certs, str(clients), str(jobs), "/bin/true"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        before = cpu_seconds(server)
        printed, _ = process.communicate("\n")
        used = cpu_seconds(server) - before
    seconds, client_seconds, taken = json.loads(printed)
    return Run(jobs / seconds, (used + client_seconds) / jobs * 1000, taken)


def cpu_seconds(server: Server) -> float:
    """Return the CPU time of the server's processes and of the ended jobs, which the keeper reaps."""
    assert server.process
    keeper = psutil.Process(server.process.pid)
    used = sum(keeper.cpu_times()[:4])  # of the process and of its reaped children
    return used + sum(sum(each.cpu_times()[:2]) for each in server.descendants() if _is_ours(each))


def _is_ours(process: psutil.Process) -> bool:
    try:
        return any("jobworkerd." in argument for argument in process.cmdline())
    except psutil.NoSuchProcess:
        return False


@contextmanager
def busy(server: Server, count: int) -> Iterator[None]:
    """Run jobs that use the CPU continuously."""
    jobs = Jobs(server)
    ids = [jobs.create(*BUSY) for _ in range(count)]
    try:
        yield
    finally:
        jobs.stop(*ids)


def job_rates(server: Server) -> list[Result]:
    """Measure jobs per second on an idle host and beside busy jobs, and the CPU time per job."""
    create(server, CLIENTS, CLIENTS)
    alone = [create(server, CLIENTS, JOBS) for _ in range(ROUNDS)]
    with busy(server, BUSY_JOBS):
        beside = [create(server, CLIENTS, JOBS_BESIDE_BUSY) for _ in range(ROUNDS)]
    name, against = f"jobs per second, {CLIENTS} clients", f"posix_spawn + wait alone: {spawn_ms():.2f} ms"
    idle, loaded = ([run.jobs_per_second for run in runs] for runs in (alone, beside))
    return [
        Result(name, against, idle, "/s", 200),
        Result(f"{name}, {BUSY_JOBS} busy jobs", against, loaded, "/s", 90),
        Result("CPU time per job", against, [run.cpu_ms for run in alone], "ms", 9, at_least=False),
    ]


def spawn_ms() -> float:
    """Return the current time of a bare spawn, which depends on the machine like the other figures."""
    return statistics.median(asyncio.run(measure({"spawn": spawn}))["spawn"])


def contention_with_limits(server: Server) -> Result:
    """Measure `contention` with limits in force, on this host or in a guest."""
    if limits_in_force():
        return contention(server)
    in_guest = ROOT / "tests/guest/in-guest"
    subprocess.run([in_guest, "--setup"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.NamedTemporaryFile("r", dir=ROOT / "bench", suffix=".json") as found:
        argv: list[str | Path] = [in_guest, "--", sys.executable, __file__, found.name]
        subprocess.run(argv, check=True, env={"IN_GUEST_ENGINE": "uml", **os.environ})
        case, against, values = json.load(found)
    return Result(f"{case}, guest", against, values, "x", CONTENTION, at_least=False)


def limits_in_force() -> bool:
    """Whether the cgroup v2 of this host has the CPU controller."""
    mount = mounted("/sys/fs/cgroup/x")
    return mount is not None and "cpu" in (mount.parent / "cgroup.controllers").read_text().split()


def contention(server: Server) -> Result:
    """Measure CreateJob beside busy jobs and on an idle host."""
    create(server, 1, SINGLE_JOBS)
    idle = median_create_ms(server)
    with busy(server, CONTENDERS):
        beside = [median_create_ms(server) / idle for _ in range(ROUNDS)]
    case = f"CreateJob beside {CONTENDERS} busy jobs"
    return Result(case, f"an idle host ({idle:.2f} ms)", beside, "x", CONTENTION, at_least=False)


def median_create_ms(server: Server) -> float:
    """Return the median time of CreateJob for a client with one call at a time."""
    return statistics.median(create(server, 1, SINGLE_JOBS).create_ms)


def main() -> None:
    """Write the result of `contention` to a file, because the guest is another machine."""
    with tempfile.TemporaryDirectory(prefix="jobworker-bench-") as directory:
        certs = make_certificates(BIN, Path(directory) / "certs")
        with Server.started(BIN, certs, Path(directory)) as server:
            found = contention(server)
    Path(sys.argv[1]).write_text(json.dumps([found.case, found.against, found.values]))


if __name__ == "__main__":
    main()
