"""`make bench-scale`: a cluster of virtual nodes, with the real control plane, agents and gateway.

    python cluster_scale.py [--nodes N] [--jobs N] [--job-seconds S]

The hosts run no processes, so the figures are those of the programs between the client and the hosts. All of
them share the CPUs of this machine. docs/scale.md explains the figures.
"""

import argparse
import asyncio
import itertools
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from google.protobuf.timestamp_pb2 import Timestamp
from virtual_host import CPU, MAX_JOBS

from gateway_program import serving
from jobworker.v1 import job_pb2, job_service_pb2, job_watch_pb2
from live import Server, make_certificates, until
from live_client import Client, client
from tests.cluster import control_plane, packaged
from tests.cluster.control_plane import ControlPlane
from tests.cluster.place import LOOPBACK
from tests.cluster.service import Service

BIN = Path(sys.executable).parent
GATEWAY = "system:serviceaccount:jobworker:jobworker-gateway"
NODES_PER_PROCESS = 125
CALLS = 16
FINAL = frozenset({job_pb2.JOB_STATUS_COMPLETED, job_pb2.JOB_STATUS_FAILED, job_pb2.JOB_STATUS_LOST})
IDLE_SECONDS = 20


@dataclass
class Part:
    """The processes of one part of the cluster, with their CPU time at the last look."""

    name: str
    services: Sequence[Service]
    before: dict[int, float] = field(default_factory=dict)

    def cpu(self) -> float:
        """Return the CPU time since the last look, in seconds, without that of ended processes."""
        now = {each.pid: sum(each.cpu_times()[:2]) for each in self._processes()}
        since = sum(total - self.before.get(pid, 0.0) for pid, total in now.items())
        self.before = now
        return since

    def memory(self) -> float:
        """Return the resident memory in MiB."""
        return sum(each.memory_info().rss for each in self._processes()) / 2**20

    def _processes(self) -> Iterator[psutil.Process]:
        for service in self.services:
            if pid := service.pid:
                yield psutil.Process(pid)


@dataclass
class Load:
    """The measurements of the clients. Times are those of the monotonic clock, in seconds."""

    created: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    retries: int = 0
    final: dict[str, tuple[float, job_pb2.Job]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The time from the first CreateJob to the end of the last job, as a client sees it."""
        return max(when for when, _ in self.final.values()) - min(self.created.values())


def median_and_p99(values: Sequence[float]) -> str:
    """Return two percentiles of unsorted values in seconds, as text."""
    ordered = sorted(values)
    return f"median {ordered[len(ordered) // 2]:.3f} s, p99 {ordered[int(len(ordered) * 0.99)]:.3f} s"


def seconds_between(begin: Timestamp, end: Timestamp) -> float:
    """Return the time between two timestamps in seconds."""
    return (end.ToNanoseconds() - begin.ToNanoseconds()) / 1e9


def rows(parts: Sequence[Part], seconds: float, jobs: int = 0) -> Iterator[str]:
    """Yield the CPU and the memory of each part since the last look."""
    for part in parts:
        cpu = part.cpu()
        each = f"{cpu / jobs * 1e3:8.1f} ms per job" if jobs else ""
        starts = sum(service.starts - 1 for service in part.services)
        again = f"  started again {starts} times" if starts else ""
        yield f"  {part.name:20} {cpu / seconds:6.2f} cores {part.memory():8.0f} MiB {each}{again}".rstrip()


def start_nodes(
    plane: ControlPlane, stack: ExitStack, directory: Path, count: int, job_seconds: float
) -> Part:
    """Start the agents of all nodes, some in each process."""
    for number in range(count):
        name = f"node-{number}"
        made = plane.certificates.kubeconfig(plane.server, name, f"system:node:{name}", "system:nodes")
        assert made.parent == plane.certificates.directory
    services = []
    for first in range(0, count, NODES_PER_PROCESS):
        size = min(NODES_PER_PROCESS, count - first)
        script = Path(__file__).with_name("virtual_nodes.py")
        argv: list[str | Path] = [sys.executable, script, plane.certificates.directory]
        argv += [str(first), str(size), str(job_seconds)]
        service = Service(f"nodes-{first}", argv, directory / f"nodes-{first}.log")
        stack.callback(service.stop)
        service.start()
        services.append(service)
    return Part("agents", services)


def ready_nodes(plane: ControlPlane) -> int:
    """Return the number of nodes that are ready."""
    count = 0
    for node in plane.api().items("/api/v1/nodes"):
        conditions = node["status"].get("conditions", [])
        count += any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return count


def start_gateway(plane: ControlPlane, stack: ExitStack, directory: Path) -> tuple[Part, Server]:
    """Start a gateway with an archive in SQLite, and return its address and certificates, too."""
    certs = make_certificates(BIN, directory / "certs", "--host", "127.0.0.1")
    issue: list[str | Path] = [BIN / "jobworkerd", "certs", "issue", "gateway", "--role", "gateway"]
    subprocess.run([*issue, "--dir", certs], check=True, capture_output=True)
    address = f"{LOOPBACK.address}:{LOOPBACK.port(50051)}"
    argv: list[str | Path] = [BIN / "jobworker-gateway", "--listen", address, "--certs-dir", certs]
    argv += ["--archive", f"sqlite:{directory}/archive.sqlite", "--logging-level", "warning"]
    argv += ["--kubeconfig", plane.kubeconfig(GATEWAY, "system:serviceaccounts")]
    unbounded = {"JOBWORKER_GATEWAY_QUOTA_ADMIN_QUEUED_JOBS": "0"}
    service = Service("gateway", argv, directory / "gateway.log", unbounded)
    stack.callback(service.stop)
    service.start()
    return Part("gateway", [service]), Server(address=address, certs=certs)


async def create_jobs(admin: Client, load: Load, numbers: Iterator[int]) -> None:
    """Create jobs one after another until the numbers are used up."""
    for number in numbers:
        request = job_service_pb2.CreateJobRequest(
            command="true", max_cpu=100, max_memory=64, request_id=f"job {number}"
        )
        began = time.monotonic()
        while (job := await create(admin, request)) is None:
            load.retries += 1
            await asyncio.sleep(1)
        load.created[job.id] = began
        load.latencies.append(time.monotonic() - began)


async def create(admin: Client, request: job_service_pb2.CreateJobRequest) -> job_pb2.Job | None:
    """Create a job; None if the control plane does not answer now."""
    try:
        return (await admin.stub.CreateJob(request, timeout=60)).job
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return None


async def watch_ends(admin: Client, load: Load, jobs: int) -> None:
    """Watch until all jobs are final."""
    request = job_watch_pb2.WatchJobsRequest(max_final_jobs=0)
    async for message in admin.stub.WatchJobs(request):
        job = message.changed.job
        if message.HasField("changed") and job.status in FINAL and job.id not in load.final:
            load.final[job.id] = (time.monotonic(), job)
            if len(load.final) == jobs:
                return


async def run_jobs(server: Server, jobs: int, parts: Sequence[Part]) -> Load:
    """Create all jobs with several calls in flight, and wait until they have ended."""
    load = Load()
    async with AsyncExitStack() as stack:
        admins = [await stack.enter_async_context(client(server, "admin")) for _ in range(4)]
        await serving(admins[0].channel)
        for part in parts:
            part.cpu()
        watch = asyncio.create_task(watch_ends(admins[0], load, jobs))
        numbers = iter(range(jobs))
        calls = [
            create_jobs(each, load, numbers) for each in itertools.islice(itertools.cycle(admins), CALLS)
        ]
        await asyncio.gather(*calls)
        await watch
    return load


def report(load: Load, job_seconds: float) -> Iterator[str]:
    """Yield the figures of the jobs."""
    accepted = max(load.created.values()) - min(load.created.values())
    jobs = [job for _, job in load.final.values()]
    starts = [seconds_between(job.create_time, job.start_time) for job in jobs if job.HasField("start_time")]
    statuses = {job_pb2.JobStatus.Name(job.status) for job in jobs}
    yield f"statuses: {', '.join(sorted(statuses))}"
    yield f"CreateJob: {median_and_p99(load.latencies)}, {load.retries} retries"
    yield f"accepted: {len(load.created) / accepted:.1f} jobs per second"
    yield f"from CreateJob to start: {median_and_p99(starts)}"
    yield f"ended: {len(jobs)} jobs in {load.seconds:.1f} s; each takes {job_seconds:g} s"


def measure(directory: Path, options: argparse.Namespace) -> None:
    """Start the cluster, measure it while it idles and while it runs jobs, and print the figures."""
    with ExitStack() as stack:
        plane = stack.enter_context(control_plane.running(directory / "control-plane"))
        packaged.apply(plane.api())
        began = time.monotonic()
        agents = start_nodes(plane, stack, directory, options.nodes, options.job_seconds)
        parts = [
            Part("API server", plane.apiservers),
            Part("etcd", plane.etcd),
            Part("scheduler", plane.schedulers),
            Part("controller manager", plane.controller_managers),
            agents,
        ]
        until(lambda: ready_nodes(plane) == options.nodes, 300)
        print(f"{options.nodes} nodes are ready after {time.monotonic() - began:.1f} s", flush=True)
        for part in parts:
            part.cpu()
        time.sleep(IDLE_SECONDS)
        print("idle:", *rows(parts, IDLE_SECONDS), sep="\n", flush=True)
        gateway, server = start_gateway(plane, stack, directory)
        parts.append(gateway)
        load = asyncio.run(run_jobs(server, options.jobs, parts))
        print(*report(load, options.job_seconds), sep="\n")
        print("with jobs:", *rows(parts, load.seconds, options.jobs), sep="\n")
        database = sum(file.stat().st_size for file in (directory / "control-plane").rglob("db"))
        print(f"database of etcd: {database / 2**20:.0f} MiB; nodes ready: {ready_nodes(plane)}", flush=True)


def main() -> None:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--job-seconds", type=float, default=10.0)
    options = parser.parse_args()
    # The programs of the cluster must end with this one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"room for {options.nodes * min(CPU // 100, MAX_JOBS)} running jobs")
    with tempfile.TemporaryDirectory(prefix="cluster-scale-") as directory:
        measure(Path(directory), options)


if __name__ == "__main__":
    main()
