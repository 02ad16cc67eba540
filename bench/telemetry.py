"""The cost of telemetry in CreateJob: spans and metrics of everything, exported over OTLP."""

from contextlib import suppress
from pathlib import Path

from result import Result

from jobworker.v1 import job_service_pb2
from live import Server
from live_client import Client, client

EVERYTHING = {
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_BSP_SCHEDULE_DELAY": "5000",
    "JOBWORKERD_METRICS_LISTEN": "127.0.0.1:0",
}
"""Settings of a server in addition to those of the receiver. The delay is the default of the SDK."""

_BLOCKS = 20
_BLOCK = 100
_WARM_UP = 50


async def telemetry_cost(exporting: Server, silent: Server) -> Result:
    """Measure the CPU time of the server per job, by comparison with a server that exports nothing.

    The wall time varies by milliseconds, so a cost of 0.1 ms could not be seen in it.
    """
    request = job_service_pb2.CreateJobRequest(command="/bin/true", max_cpu=100, max_memory=64)
    async with client(exporting, "admin") as one, client(silent, "admin") as other:
        for each in (one, other):
            await _create(each, request, _WARM_UP)
        with_telemetry, without = [], []
        for _ in range(_BLOCKS):
            with_telemetry.append(await _cost(exporting, one, request))
            without.append(await _cost(silent, other, request))
    more = [ours - theirs for ours, theirs in zip(with_telemetry, without, strict=True)]
    plain = sum(without) / len(without)
    against = f"none exported ({plain:.2f} ms of CPU)"
    return Result("CreateJob, telemetry", against, more, "ms of CPU more", 0.1, at_least=False)


async def _cost(server: Server, admin: Client, request: job_service_pb2.CreateJobRequest) -> float:
    """Return the milliseconds of CPU time per job."""
    before = _cpu_ns(server)
    await _create(admin, request, _BLOCK)
    return (_cpu_ns(server) - before) / _BLOCK / 1e6


async def _create(admin: Client, request: job_service_pb2.CreateJobRequest, count: int) -> None:
    jobs = [(await admin.stub.CreateJob(request)).job for _ in range(count)]
    await admin.ended(jobs[-1].id)


def _cpu_ns(server: Server) -> int:
    """Return the CPU time of the supervisor and of the API processes.

    `cpu_times` of psutil has a resolution of 10 ms.
    """
    total = 0
    for process in (server.supervisor, *server.api_processes()):
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            with suppress(FileNotFoundError):  # a thread that has ended
                total += int((task / "schedstat").read_text().split()[0])
    return total
