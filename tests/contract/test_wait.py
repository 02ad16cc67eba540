"""Wait for the end of jobs with WaitJob, also while parts of the server die or shut down."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
import pytest

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server, still_alive
from live_client import Client, client, refused

T = TypeVar("T")

Response = job_service_pb2.WaitJobResponse
UNKNOWN_ID = "019a0000-0000-7000-8000-000000000000"


def request(job_id: str, milliseconds: int | None = None) -> job_service_pb2.WaitJobRequest:
    """Return a request with a timeout."""
    wait = job_service_pb2.WaitJobRequest(id=job_id)
    if milliseconds is not None:
        wait.timeout.FromMilliseconds(milliseconds)
    return wait


async def wait(
    caller: Client, job_id: str, milliseconds: int | None = None
) -> job_service_pb2.WaitJobResponse:
    """Make a call."""
    return await caller.stub.WaitJob(request(job_id, milliseconds), timeout=90)


async def test_wait_returns_the_running_job_after_the_timeout_and_the_final_job_at_its_end(
    admin: Client, viewer: Client
) -> None:
    job = await admin.create("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    await admin.wrote(job.id, b"ready\n")
    for milliseconds in (0, 200):
        response = await wait(viewer, job.id, milliseconds)
        assert not response.done
        assert response.job.status == job_pb2.JOB_STATUS_RUNNING
        assert response.job.usage.wall_usec
    waiter = asyncio.create_task(wait(viewer, job.id))
    stopped = await admin.stop(job.id)
    response = await waiter
    assert response.done
    assert response.job == stopped
    assert response.job.exit_code == 5


async def test_wait_for_an_ended_job_returns_at_once(admin: Client) -> None:
    job, _ = await admin.run("sh", "-c", "exit 3")
    for milliseconds in (None, 0, 60_000):
        response = await wait(admin, job.id, milliseconds)
        assert (response.done, response.job) == (True, job)


@pytest.mark.parametrize("job_id", [UNKNOWN_ID, "", "nonsense"])
async def test_wait_for_an_unknown_job_is_refused(admin: Client, job_id: str) -> None:
    async with refused(grpc.StatusCode.NOT_FOUND) as refusal:
        await wait(admin, job_id)
    assert refusal.reason == "JOB_NOT_FOUND"


async def test_wait_longer_than_a_day_is_refused(admin: Client) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await wait(admin, UNKNOWN_ID, 86_400_001)
    assert refusal.fields == ["timeout"]


async def test_call_that_is_cancelled_does_not_end_the_job_or_other_waits(admin: Client) -> None:
    job = await admin.create("sh", "-c", "echo ready; sleep 1000")
    await admin.wrote(job.id, b"ready\n")
    other = asyncio.create_task(wait(admin, job.id))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.stub.WaitJob(request(job.id), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await admin.get(job.id)).status == job_pb2.JOB_STATUS_RUNNING
    await admin.stop(job.id, seconds=0)
    assert (await other).done


async def test_a_thousand_waiters_get_the_final_job(admin: Client) -> None:
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; echo noise; done"
    job = await admin.create("sh", "-c", script)
    await admin.wrote(job.id, b"ready\n")
    waiters = [asyncio.create_task(wait(admin, job.id)) for _ in range(1_000)]
    # A call that is sent later has its response earlier: the waits have reached the server.
    assert not (await wait(admin, job.id, 0)).done
    stopped = await admin.stop(job.id)
    for response in await asyncio.gather(*waiters):
        assert (response.done, response.job) == (True, stopped)


async def test_wait_is_retryable_when_the_api_process_is_killed(own_server: Server) -> None:
    async with client(own_server, "admin") as admin:
        job = await admin.create("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
        await admin.wrote(job.id, b"ready\n")
        waiter = asyncio.create_task(wait(admin, job.id))
        assert not (await wait(admin, job.id, 300)).done
        for each in own_server.api_processes():
            each.kill()
        async with refused(grpc.StatusCode.UNAVAILABLE):
            await waiter
        waiter = asyncio.create_task(_when_back(lambda: wait(admin, job.id)))
        stopped = await _when_back(lambda: admin.stop(job.id))
        response = await waiter
    assert (response.done, response.job) == (True, stopped)


async def test_shutdown_ends_waits_with_the_stopped_job(own_server: Server) -> None:
    async with client(own_server, "admin") as admin:
        job = await admin.create("sh", "-c", "echo ready; sleep 1000")
        await admin.wrote(job.id, b"ready\n")
        waiter = asyncio.create_task(wait(admin, job.id))
        assert not (await wait(admin, job.id, 300)).done
        children = own_server.descendants()
        assert own_server.process
        own_server.process.send_signal(signal.SIGTERM)
        response = await waiter
    assert (response.done, response.job.status) == (True, job_pb2.JOB_STATUS_STOPPED)
    assert own_server.stop() == 0
    alive = still_alive(children)
    assert alive == []


async def _when_back(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call, and repeat it while the server is unavailable."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.1)
