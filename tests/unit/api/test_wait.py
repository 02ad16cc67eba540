"""WaitJob: the end of a job, the timeout, and clients that leave."""

import asyncio
from collections.abc import Callable

import grpc
import pytest
from api_server import FINAL_JOB, JOB, JOB_ID, Api, Client, eventually, refusal
from msgspec.structs import replace

from jobworker.v1 import job_pb2, job_service_pb2
from jobworkerd import errors
from jobworkerd.model import Usage
from jobworkerd.protocol import messages

END = messages.Progress(JOB_ID, FINAL_JOB.log_size, FINAL_JOB)


def request(milliseconds: int | None = None) -> job_service_pb2.WaitJobRequest:
    """Return a request with a timeout."""
    wait = job_service_pb2.WaitJobRequest(id=JOB_ID)
    if milliseconds is not None:
        wait.timeout.FromMilliseconds(milliseconds)
    return wait


def waiting(client: Client, milliseconds: int | None = None) -> asyncio.Task[job_service_pb2.WaitJobResponse]:
    """Start a call."""

    async def call() -> job_service_pb2.WaitJobResponse:
        return await client.stub.WaitJob(request(milliseconds))

    return asyncio.create_task(call())


def following(api: Api) -> Callable[[], bool]:
    """Return whether the API follows the job."""
    return lambda: messages.Follow(JOB_ID) in api.supervisor.requests


async def test_wait_returns_the_job_when_it_ends(api: Api) -> None:
    async with api.client("Viewer") as client:
        wait = waiting(client)
        await eventually(following(api))
        await api.supervisor.say(messages.Progress(JOB_ID, JOB.log_size + 1))
        await api.supervisor.say(END)
        response = await wait
    assert response.done
    assert response.job.status == job_pb2.JOB_STATUS_COMPLETED
    assert api.supervisor.requests == [messages.Follow(JOB_ID)]


async def test_wait_returns_the_running_job_after_the_timeout(api: Api) -> None:
    now = replace(JOB, usage=Usage(memory_current_bytes=7))
    api.supervisor.script = lambda body: messages.OneJob(now if isinstance(body, messages.GetJob) else JOB)
    async with api.client() as client:
        response = await client.stub.WaitJob(request(50))
    assert not response.done
    assert response.job.usage.memory_current_bytes == 7
    assert api.supervisor.requests == [
        messages.Follow(JOB_ID),
        messages.Unfollow(JOB_ID),
        messages.GetJob(JOB_ID),
    ]


async def test_wait_with_timeout_0_returns_at_once(api: Api) -> None:
    async with api.client() as client:
        assert not (await client.stub.WaitJob(request(0))).done
        api.supervisor.script = lambda _: messages.FinalJob(FINAL_JOB)
        assert (await client.stub.WaitJob(request(0))).done
    assert api.supervisor.requests == [messages.GetJob(JOB_ID)] * 2


async def test_wait_for_an_ended_job_returns_at_once(api: Api) -> None:
    api.supervisor.script = lambda _: messages.OneJob(FINAL_JOB)
    async with api.client() as client:
        response = await client.stub.WaitJob(request())
    assert response.done
    assert response.job.exit_code == 0


async def test_wait_returns_a_job_whose_record_was_removed_right_after_its_end(api: Api) -> None:
    async with api.client() as client:
        wait = waiting(client)
        await eventually(following(api))
        failure = messages.Failure(*errors.to_wire(errors.JobNotFound(JOB_ID)))
        api.supervisor.script = lambda _: failure
        await api.supervisor.say(END)
        await api.supervisor.say(messages.Forgotten(JOB_ID))
        assert (await wait).done


async def test_wait_for_an_unknown_job_is_refused(api: Api) -> None:
    failure = messages.Failure(*errors.to_wire(errors.JobNotFound(JOB_ID)))
    api.supervisor.script = lambda _: failure
    async with api.client() as client:
        for milliseconds in (None, 0, 50):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.stub.WaitJob(request(milliseconds))
            assert refusal(caught.value).reason == "JOB_NOT_FOUND"


@pytest.mark.parametrize("seconds", [-1, 86_401])
async def test_wait_with_a_timeout_out_of_bounds_is_refused(api: Api, seconds: int) -> None:
    async with api.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub.WaitJob(request(seconds * 1_000))
    assert refusal(caught.value).reason == "INVALID_REQUEST"
    assert "timeout" in (caught.value.details() or "")
    assert not api.supervisor.requests


async def test_a_thousand_waiters_share_one_subscription(api: Api) -> None:
    async with api.client() as client:
        waits = [waiting(client) for _ in range(1_000)]
        await eventually(lambda: len(api.events("authorization")) == len(waits), 60)
        for size in range(100):
            await api.supervisor.say(messages.Progress(JOB_ID, JOB.log_size + size))
        await api.supervisor.say(END)
        responses = await asyncio.gather(*waits)
    assert all(response.done for response in responses)
    assert api.supervisor.requests == [messages.Follow(JOB_ID)]


async def test_the_last_waiter_that_disconnects_ends_the_subscription(api: Api) -> None:
    async with api.client() as client:
        first, second = waiting(client), waiting(client)
        await eventually(lambda: len(api.events("authorization")) == 2)
        first.cancel()
        await eventually(lambda: len(api.events("rpc")) == 1)
        assert messages.Unfollow(JOB_ID) not in api.supervisor.requests
        second.cancel()
        await eventually(lambda: messages.Unfollow(JOB_ID) in api.supervisor.requests)


async def test_wait_fails_if_the_supervisor_ends(api: Api) -> None:
    async with api.client() as client:
        wait = waiting(client)
        await eventually(following(api))
        api.supervisor.close()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await wait
    assert refusal(caught.value).reason == "SUPERVISOR_UNAVAILABLE"
