"""The time until the API answers again after its process was killed."""

import asyncio
import time

import grpc
from result import Result

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from live import Server
from live_client import client, credentials

ROUNDS = 10
_PAUSE_SECONDS = 0.005


async def recovery(server: Server) -> Result:
    """Measure the time from the kill of an API process to the first response of GetJob."""
    async with client(server, "admin") as admin:
        job_id = (await admin.run("true"))[0].id
    found = []
    for _ in range(ROUNDS):
        (process,) = server.api_processes()
        start = time.perf_counter()
        process.kill()
        process.wait()
        while not await _answers(server, job_id):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(_PAUSE_SECONDS)
        found.append((time.perf_counter() - start) * 1000)
    return Result("API process killed, serving again", "-", found, "ms", 1_000, at_least=False)


async def _answers(server: Server, job_id: str) -> bool:
    """Call GetJob on a new connection, because a refused connection waits a second before it reconnects."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(
        server.address, credentials(server.certs, "admin"), options=options
    ) as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        try:
            await stub.GetJob(job_service_pb2.GetJobRequest(id=job_id), timeout=10)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
    return True
