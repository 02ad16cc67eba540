"""Call GetJob for one job as often as possible: the same load for both servers.

`python requester.py ADDRESS CERTS_DIR JOB_ID SECONDS` keeps calls in flight on several connections, warms up,
and prints the responses per second.
"""

import asyncio
import sys
import time
from pathlib import Path

import grpc

from jobworker.v1 import job_service_pb2, job_service_pb2_grpc
from live_client import credentials

CONNECTIONS = 10
CALLS_PER_CONNECTION = 10
_WARM_UP_SECONDS = 0.5


async def _ask(channel: grpc.aio.Channel, job_id: str, until: float) -> list[float]:
    """Call GetJob repeatedly and return the start times of the calls."""
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    request = job_service_pb2.GetJobRequest(id=job_id)
    answered = []
    while (now := time.perf_counter()) < until:
        await stub.GetJob(request)
        answered.append(now)
    return answered


async def _main(address: str, certs: Path, job_id: str, seconds: float) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    admin = credentials(certs, "admin")
    channels = [grpc.aio.secure_channel(address, admin, options) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    begin = time.perf_counter() + _WARM_UP_SECONDS
    asking = [
        _ask(channel, job_id, begin + seconds) for channel in channels for _ in range(CALLS_PER_CONNECTION)
    ]
    answered = [moment for moments in await asyncio.gather(*asking) for moment in moments]
    print(sum(1 for moment in answered if moment >= begin) / seconds, flush=True)
    await asyncio.gather(*(channel.close() for channel in channels))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
