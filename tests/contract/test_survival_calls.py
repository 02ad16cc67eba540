"""Check the calls of clients that call all the time while the supervisor is replaced."""

import asyncio
import time

import grpc
import pytest
from restarts import Restart, kill_supervisor, lasting_client, reload

from jobworker.v1 import job_service_pb2
from live import SLOW, Server
from live_client import Client

CLIENTS = 4 if SLOW else 20
PAUSE_SECONDS = 0.02
BACK_WITHIN_SECONDS = 30 if SLOW else 2
"""With many clients on the cores of the server, which a restart also needs."""


@pytest.mark.parametrize("restart", [kill_supervisor, reload])
async def test_calls_without_a_pause_fail_only_as_unavailable_and_for_a_short_time(
    own_server: Server, restart: Restart
) -> None:
    async with lasting_client(own_server) as admin:
        job = await admin.ended((await admin.create("true")).id)
        await restart(own_server)
        await admin.get(job.id)
        done = asyncio.Event()
        clients = [asyncio.create_task(_longest_outage(own_server, job.id, done)) for _ in range(CLIENTS)]
        await asyncio.sleep(0.5)
        await restart(own_server)
        await asyncio.sleep(BACK_WITHIN_SECONDS)
        done.set()
        outages = await asyncio.gather(*clients)
    assert max(outages) < BACK_WITHIN_SECONDS


async def _longest_outage(server: Server, job_id: str, done: asyncio.Event) -> float:
    """Call GetJob until `done` is set and return the longest time in seconds without an answer."""
    longest, answered = 0.0, time.monotonic()
    async with lasting_client(server, "viewer") as viewer:
        while not done.is_set():
            if await _answers(viewer, job_id):
                now = time.monotonic()
                longest, answered = max(longest, now - answered), now
            await asyncio.sleep(PAUSE_SECONDS)
    return max(longest, time.monotonic() - answered)


async def _answers(viewer: Client, job_id: str) -> bool:
    try:
        await viewer.stub.GetJob(job_service_pb2.GetJobRequest(id=job_id), timeout=30)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017
        return False
    return True
