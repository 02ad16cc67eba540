"""Create jobs as fast as possible: the load of the job throughput cases.

`python creator.py ADDRESS CERTS_DIR CLIENTS JOBS COMMAND ARGS...` opens one connection per client and prints
`ready`. After a line of input the clients create JOBS jobs in all. The program prints the seconds until the
last job is final, its own CPU seconds, and the milliseconds of each CreateJob.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc

from jobworker.v1 import job_service_pb2
from live_client import Client, credentials


async def _create(
    client: Client, request: job_service_pb2.CreateJobRequest, numbers: list[int], taken: list[float]
) -> None:
    """Create jobs until no numbers are left, and wait for the end of the last job."""
    job_id = ""
    while numbers:
        numbers.pop()
        start = time.perf_counter()
        job_id = (await client.stub.CreateJob(request)).job.id
        taken.append((time.perf_counter() - start) * 1000)
    if job_id:
        await client.ended(job_id)


async def _main(address: str, certs: Path, clients: int, jobs: int, argv: Sequence[str]) -> None:
    request = job_service_pb2.CreateJobRequest(command=argv[0], args=argv[1:], max_cpu=100, max_memory=64)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(
                grpc.aio.secure_channel(address, credentials(certs, "admin"), options)
            )
            for _ in range(clients)
        ]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        print("ready", flush=True)
        sys.stdin.readline()
        numbers, taken = list(range(jobs)), list[float]()
        start, used = time.perf_counter(), sum(os.times()[:2])
        await asyncio.gather(*(_create(Client(each), request, numbers, taken) for each in channels))
        seconds, cpu_seconds = time.perf_counter() - start, sum(os.times()[:2]) - used
        print(json.dumps([seconds, cpu_seconds, taken]), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))
