"""The cost of CreateJob beside a bare call and a bare spawn.

Each round times every case once, in turn, so that other load on the machine affects all cases equally.
"""

import os
import statistics
import time
from collections.abc import Awaitable, Callable

import grpc
from result import Result

from bare_server import METHOD
from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from live import Server
from live_client import client, credentials

ROUNDS = 300
WARM_UP = 30

Case = Callable[[], Awaitable[None]]


async def spawn() -> None:
    """Start and reap /bin/true."""
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


async def measure(cases: dict[str, Case], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return the milliseconds of each case in each round."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(WARM_UP + rounds):
        for name, case in cases.items():
            start = time.perf_counter()
            await case()
            if number >= WARM_UP:
                taken[name].append((time.perf_counter() - start) * 1000)
    return taken


async def creation(server: Server, bare_address: str) -> list[Result]:
    """Measure CreateJob and the first line of a fresh job."""
    admin = credentials(server.certs, "admin")
    async with (
        grpc.aio.secure_channel(bare_address, admin) as bare_channel,
        grpc.aio.secure_channel(server.address, admin) as channel,
    ):
        echo: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = bare_channel.unary_unary(METHOD)
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        request = job_service_pb2.CreateJobRequest(command="/bin/true", max_cpu=100, max_memory=64)
        line = job_service_pb2.CreateJobRequest(
            command="/bin/echo", args=["line"], max_cpu=100, max_memory=64
        )

        async def bare() -> None:
            await echo(b"x" * 64)

        async def create() -> None:
            await stub.CreateJob(request)

        async def first_line() -> None:
            job = (await stub.CreateJob(line)).job
            call = stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id))
            message = await call.read()
            assert isinstance(message, job_service_pb2.GetJobsStreamResponse)
            assert message.payload == b"line\n"
            call.cancel()

        taken = await measure({"bare": bare, "spawn": spawn, "create": create, "line": first_line})
    both = statistics.median(taken["bare"]) + statistics.median(taken["spawn"])
    against = f"bare unary call + posix_spawn ({both:.2f} ms)"

    def over(case: str) -> list[float]:
        return [value - both for value in taken[case]]

    return [
        Result("CreateJob", against, over("create"), "ms more", 1.5, at_least=False),
        Result("first line of a fresh job", against, over("line"), "ms more", 5.0, at_least=False),
    ]


async def isolation(isolated: Server, bare: Server) -> Result:
    """Measure the cost of isolation in CreateJob, by comparison with a server without isolation."""
    request = job_service_pb2.CreateJobRequest(command="/bin/true", max_cpu=100, max_memory=64)
    async with client(isolated, "admin") as one, client(bare, "admin") as other:

        async def with_isolation() -> None:
            await one.stub.CreateJob(request)

        async def without() -> None:
            await other.stub.CreateJob(request)

        taken = await measure({"with": with_isolation, "without": without})
    plain = statistics.median(taken["without"])
    more = [value - plain for value in taken["with"]]
    return Result(
        "CreateJob, isolation", f"without it ({plain:.2f} ms)", more, "ms more", 2.0, at_least=False
    )
