"""The cost of streams beside bare gRPC: the log cases of `make bench`."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
from result import Result

from bare_server import STREAM_METHOD
from jobworker.v1 import job_output_pb2, job_service_pb2, job_service_pb2_grpc
from live import Server
from live_client import client, credentials

METHOD = "/jobworker.v1.JobService/GetJobsStream"
GIB = 1 << 30
MESSAGE = 256 * 1024
KEPT_JOBS = 3
PRINTING = "exec 3<> <(:); while echo noise; do read -r -t 0.1 -u 3; done"
"""Prints ten lines per second without child processes: the cost of forks is not part of these cases."""

BIG = ("head", "-c", str(GIB), "/dev/zero")


def read_all(address: str, certs: Path, method: str, request: bytes, count: int) -> tuple[int, float]:
    """Return the bytes that `count` readers in a separate process received, and the seconds."""
    argv: list[str | Path] = [sys.executable, Path(__file__).with_name("reader.py"), address, certs, method]
    argv += [request.hex() or "00", str(count)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        taken, seconds = process.stdout.readline().split()
    return int(taken), float(seconds)


def read_rate(address: str, certs: Path, method: str, request: bytes, count: int) -> float:
    """Return the total bytes per second of `count` readers in a separate process."""
    taken, seconds = read_all(address, certs, method, request, count)
    return taken / seconds


def bare_rate(address: str, certs: Path, total: int, count: int) -> float:
    """Return the bytes per second of a stream of prepared messages."""
    return read_rate(address, certs, STREAM_METHOD, f"{total // MESSAGE} {MESSAGE}".encode(), count)


def log_rate(server: Server, job_id: str, count: int) -> float:
    """Return the bytes per second of GetJobsStream for a job."""
    request = job_service_pb2.GetJobsStreamRequest(id=job_id).SerializeToString()
    return read_rate(server.address, server.certs, METHOD, request, count)


class Jobs:
    """Create jobs and wait for them, with a new connection per call."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def create(self, *argv: str) -> str:
        """Create a job and return its id."""
        return asyncio.run(self._create(*argv))

    async def _create(self, *argv: str) -> str:
        async with client(self._server, "admin") as admin:
            return (await admin.create(*argv, max_cpu=400, max_memory=256)).id

    def seconds(self, *argv: str) -> float:
        """Return the time from CreateJob to the result of the job, on an open connection."""
        return asyncio.run(self._seconds(*argv))

    async def _seconds(self, *argv: str) -> float:
        async with client(self._server, "admin") as admin:
            await admin.channel.channel_ready()
            start = time.perf_counter()
            job = await admin.create(*argv, max_cpu=400, max_memory=256)
            await admin.ended(job.id)
            return time.perf_counter() - start

    def ended(self, job_id: str) -> None:
        """Wait until a job is final."""
        asyncio.run(self._ended(job_id))

    async def _ended(self, job_id: str) -> None:
        async with client(self._server, "admin") as admin:
            await admin.ended(job_id)

    def stop(self, *job_ids: str) -> None:
        """Stop jobs."""
        asyncio.run(self._stop(job_ids))

    async def _stop(self, job_ids: Sequence[str]) -> None:
        async with client(self._server, "admin") as admin:
            for job_id in job_ids:
                await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job_id))


def rounds(count: int, ours: Callable[[], float], theirs: Callable[[], float]) -> list[float]:
    """Return ours / theirs of each round; the two alternate in going first."""
    found = []
    for number in range(count):
        if number % 2:
            mine, other = ours(), theirs()
        else:
            other, mine = theirs(), ours()
        found.append(mine / other)
    return found


def throughput(server: Server, bare: str, scratch: Path) -> list[Result]:
    """Measure one reader, no reader and 100 readers."""
    jobs, certs = Jobs(server), server.certs
    big = jobs.create(*BIG)
    jobs.ended(big)

    kept: list[Path] = []

    def bare_one() -> float:
        return bare_rate(bare, certs, GIB, 1)

    def alone() -> float:
        return 1 / jobs.seconds(*BIG)

    def cat() -> float:
        # Keep as many files as the server keeps logs, because recently freed memory is faster to allocate.
        kept.append(scratch.with_suffix(f".{time.monotonic_ns()}"))
        start = time.perf_counter()
        subprocess.run(["sh", "-c", f"{' '.join(BIG)} | cat >{kept[-1]}"], check=True)
        seconds = time.perf_counter() - start
        if len(kept) > KEPT_JOBS:
            kept.pop(0).unlink()
        return 1 / seconds

    log_rate(server, big, 1)
    results = [
        Result(
            "finished 1 GiB log, 1 reader",
            "bare stream",
            rounds(5, lambda: log_rate(server, big, 1), bare_one),
            "x",
            0.85,
        ),
        Result(
            "live 1 GiB, 1 reader",
            "bare stream",
            rounds(5, lambda: log_rate(server, jobs.create(*BIG), 1), bare_one),
            "x",
            0.6,
        ),
        Result(
            "job alone, no readers, 1 GiB", "the command and `cat >file`", rounds(5, alone, cat), "x", 0.9
        ),
    ]
    # This case is last, because the server keeps only a few final jobs.
    small = jobs.create("head", "-c", str(64 << 20), "/dev/zero")
    jobs.ended(small)
    fan_out = rounds(3, lambda: log_rate(server, small, 100), lambda: bare_rate(bare, certs, 64 << 20, 100))
    against = "bare fan-out of one message"
    return [*results, Result("100 readers of one 64 MiB log", against, fan_out, "x", 0.9)]


def two_processes(one: Server, two: Server) -> Result:
    """Measure 100 readers on two API processes beside 100 readers on one."""

    def rate(server: Server) -> Callable[[], float]:
        jobs = Jobs(server)
        small = jobs.create("head", "-c", str(64 << 20), "/dev/zero")
        jobs.ended(small)
        request = job_service_pb2.GetJobsStreamRequest(id=small).SerializeToString().hex()

        def measured() -> float:
            """Return the rate of two reader processes, because each connection belongs to one API process."""
            argv: list[str | Path] = [sys.executable, Path(__file__).with_name("reader.py"), server.address]
            argv += [server.certs, METHOD, request, "50"]
            readers = [
                subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                for _ in range(2)
            ]
            for each in readers:
                assert each.stdout
                assert each.stdout.readline() == "ready\n"
            start = time.perf_counter()
            taken = 0
            for each in readers:
                assert each.stdin
                each.stdin.write("\n")
                each.stdin.flush()
            for each in readers:
                taken += int(each.communicate()[0].split()[0])
            return taken / (time.perf_counter() - start)

        return measured

    return Result("100 readers, 2 API processes", "1 API process", rounds(3, rate(two), rate(one)), "x", None)


async def line_latency(server: Server, lines: int = 300) -> list[float]:
    """Return the milliseconds from the job's write of each line to its arrival at the follower."""
    script = f"import time\nfor _ in range({lines}):\n time.sleep(.01); print(time.time_ns(), flush=True)"
    async with grpc.aio.secure_channel(server.address, credentials(server.certs, "admin")) as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        request = job_service_pb2.CreateJobRequest(
            command="python3", args=["-c", script], max_cpu=100, max_memory=256
        )
        job = (await stub.CreateJob(request)).job
        found = []
        async for message in stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id)):
            now = time.time_ns()
            found += [(now - int(line)) / 1e6 for line in message.payload.split()]
    assert len(found) == lines
    return found


async def first_lines(server: Server, count: int = 50) -> list[float]:
    """Return the milliseconds from the start of CreateJob to the job's first line, for `count` jobs."""
    found = []
    async with client(server, "admin") as admin:
        for _ in range(count):
            start = time.perf_counter()
            job = await admin.create("echo", "line")
            call = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id))
            await call.read()
            found.append((time.perf_counter() - start) * 1000)
            call.cancel()
            await asyncio.sleep(0.01)
    return found


def fairness(server: Server) -> Result:
    """Measure how a job that floods its output delays the first line of another job."""
    jobs = Jobs(server)
    alone = statistics.median(asyncio.run(first_lines(server)))
    flood = jobs.create("cat", "/dev/zero")
    beside = asyncio.run(first_lines(server))
    jobs.stop(flood)
    more = [value - alone for value in beside]
    against = f"without the flood ({alone:.2f} ms)"
    return Result("first line of a job beside one that floods", against, more, "ms more", 50, at_least=False)


def latency(server: Server) -> list[Result]:
    """Measure an idle server, and a server with 100 other jobs that print ten lines per second each."""
    results = []
    jobs = Jobs(server)
    for name in ("a quiet server", "100 jobs printing"):
        noisy = []
        if name != "a quiet server":
            noisy = [jobs.create("bash", "-c", PRINTING) for _ in range(100)]
        found = asyncio.run(line_latency(server))
        jobs.stop(*noisy)
        p50, p99 = statistics.median(found), statistics.quantiles(found, n=100)[98]
        results += [
            Result(f"line written to seen, {name}, p50", "-", [p50], "ms", 3, at_least=False),
            Result(f"line written to seen, {name}, p99", "-", [p99], "ms", 20, at_least=False),
        ]
    return results


def resident(pid: int) -> int:
    """Return the resident bytes of a process (proc_pid_statm(5))."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def memory(server: Server) -> list[Result]:
    """Measure both processes with a 1 GiB log and 1,000 followers that wait at its end."""
    assert server.process
    script = f"head -c {GIB} /dev/zero; echo end >&2; sleep 600"
    stderr = job_output_pb2.OUTPUT_SOURCE_STDERR
    async with client(server, "admin") as admin:
        job = await admin.create("sh", "-c", script, max_cpu=400, max_memory=256)
        whole = job_service_pb2.GetJobsStreamRequest(id=job.id, source=stderr)
        async for _ in admin.stub.GetJobsStream(whole):
            break
        request = job_service_pb2.GetJobsStreamRequest(id=job.id, tail_bytes=MESSAGE)
        calls = [admin.stub.GetJobsStream(request) for _ in range(1000)]
        for call in calls:
            taken = 0
            while taken < MESSAGE:
                message = await call.read()
                assert isinstance(message, job_service_pb2.GetJobsStreamResponse)
                taken += len(message.payload)
        (api,) = server.api_processes()
        used = [resident(pid) / 2**20 for pid in (server.supervisor.pid, api.pid)]
        for call in calls:
            call.cancel()
        await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job.id))
    most = 70 + 1000 * 32 / 1024
    return [
        Result("memory of the supervisor, 1 GiB log", "-", used[:1], "MiB", 32, at_least=False),
        Result("memory of the API, 1,000 followers", "-", used[1:], "MiB", most, at_least=False),
    ]
