"""Follow a job with many streams and print how far they are behind the job.

`python followers.py ADDRESS CERTS_DIR JOB_ID COUNT CONNECTIONS SECONDS` prints one number per message: the
age of its oldest byte in milliseconds when the follower receives it.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import uvloop

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from live_client import credentials

WARM_UP_SECONDS = 2.0


async def _follow(channel: grpc.aio.Channel, job_id: str) -> AsyncIterator[float]:
    request = job_service_pb2.GetJobsStreamRequest(id=job_id, tail_bytes=0)
    async for message in job_service_pb2_grpc.JobServiceStub(channel).GetJobsStream(request):
        if message.payload:
            yield (time.time_ns() - message.time.ToNanoseconds()) / 1e6


async def _record(channel: grpc.aio.Channel, job_id: str, found: list[float]) -> None:
    async for lag in _follow(channel, job_id):
        found.append(lag)  # noqa: PERF401 - the list is read while it grows


async def _main(server: tuple[str, Path], job_id: str, count: int, connections: int, seconds: float) -> None:
    async with contextlib.AsyncExitStack() as stack:
        channels = []
        for _ in range(connections):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = grpc.aio.secure_channel(server[0], credentials(server[1], "admin"), options)
            await stack.enter_async_context(channel)
            await channel.channel_ready()
            channels.append(channel)
        found: list[float] = []
        tasks = [
            asyncio.create_task(_record(channels[number % connections], job_id, found))
            for number in range(count)
        ]
        await asyncio.sleep(WARM_UP_SECONDS)
        found.clear()
        await asyncio.sleep(seconds)
        lags = found.copy()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    print("\n".join(map(str, lags)))


if __name__ == "__main__":
    address, certs, job_id, count, connections, seconds = sys.argv[1:]
    uvloop.run(_main((address, Path(certs)), job_id, int(count), int(connections), float(seconds)))
