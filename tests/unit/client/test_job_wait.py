"""Tests of waiting for the end of a job, with explicit times and with both clients."""

import asyncio

import grpc
import pytest

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client import ConnectionLost, DeadlineExceeded, JobNotFound, JobWorkerError, StreamEvent
from jobworker_client.job_wait import JobWait
from jobworker_client.retry_policy import RetryPolicy
from scripted import JOB_ID, FakeServer, WaitRequest, WaitResponse, until
from scripted_endpoint import Endpoint
from scripted_messages import Refusal
from tests.unit.client.conftest import AnyClient

POLICY = RetryPolicy()
BACKOFF = POLICY.stream_backoff
RUNNING = WaitResponse(job=job_pb2.Job(id=JOB_ID))
LOST = ConnectionLost("lost", reason="CONNECTION_LOST", retryable=True)


def answered(events: list[StreamEvent] | None = None, deadline: float | None = None) -> JobWait:
    """Return a wait whose first call, at 100 s, found a running job."""
    on_event = None if events is None else events.append
    wait = JobWait(JOB_ID, 100, deadline=deadline, on_event=on_event)
    request, _ = wait.next_request(100)
    assert request.HasField("timeout")
    assert not request.timeout.ToNanoseconds()
    wait.receive(RUNNING)
    return wait


def test_only_the_first_request_returns_at_once() -> None:
    wait = answered()
    assert wait.next_request(101) == (job_service_pb2.WaitJobRequest(id=JOB_ID), None)
    wait.receive(RUNNING)
    assert wait.job is None
    wait.receive(WaitResponse(job=job_pb2.Job(id=JOB_ID), done=True))
    assert wait.job == job_pb2.Job(id=JOB_ID)


def test_first_call_is_retried_like_any_call() -> None:
    wait = JobWait(JOB_ID, 100)
    assert [wait.next_delay(LOST, 100) for _ in POLICY.call_backoff] == list(POLICY.call_backoff)
    with pytest.raises(ConnectionLost):
        wait.next_delay(LOST, 100)


def test_later_calls_are_retried_until_the_resume_timeout() -> None:
    wait = answered()
    wait.next_request(105)
    assert [wait.next_delay(LOST, 105) for _ in range(6)] == [*BACKOFF, BACKOFF[-1]]
    end = 105 + POLICY.resume_timeout
    wait.next_request(end - 0.5)
    assert wait.next_delay(LOST, end - 0.5) == 0.5
    with pytest.raises(ConnectionLost):
        wait.next_delay(LOST, end)


def test_long_call_and_response_restart_the_resume_timeout() -> None:
    wait = answered()
    wait.next_delay(LOST, 100)
    wait.next_request(101)
    later = 101 + POLICY.healthy_after + 1
    assert wait.next_delay(LOST, later) == BACKOFF[0]
    wait.next_request(later)
    assert wait.next_delay(LOST, later) == BACKOFF[1]
    wait.receive(RUNNING)
    assert wait.next_delay(LOST, later + POLICY.resume_timeout) == BACKOFF[0]


def test_retries_are_reported_once() -> None:
    events: list[StreamEvent] = []
    wait = answered(events)
    for now in (100, 101, 102):
        wait.next_delay(LOST, now)
        wait.next_request(now)
    wait.receive(RUNNING)
    wait.next_delay(LOST, 103)
    assert len(events) == 2


@pytest.mark.parametrize("is_answered", [False, True])
def test_permanent_error_is_raised_at_once(*, is_answered: bool) -> None:
    wait = answered() if is_answered else JobWait(JOB_ID, 100)
    with pytest.raises(JobNotFound):
        wait.next_delay(JobNotFound("no"), 100)


def test_deadline_bounds_delays_and_timeouts() -> None:
    wait = answered(deadline=1)
    assert wait.next_request(100.75)[1] == 0.25
    assert wait.next_delay(LOST, 100.99) == pytest.approx(0.01)
    assert wait.next_request(102)[1] == 0


async def test_wait_outlasts_a_restart_of_the_server(
    any_client: AnyClient, server: FakeServer, endpoint: Endpoint
) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_RUNNING)

    async def waiting(request: WaitRequest) -> WaitResponse:
        if not request.HasField("timeout") and len(server.waited) == 2:
            await asyncio.Event().wait()
        return WaitResponse(job=job, done=job.status != job_pb2.JOB_STATUS_RUNNING)

    server.waiting = waiting
    waiter = asyncio.create_task(any_client.call("wait", JOB_ID))
    await until(lambda: len(server.waited) == 2)
    await endpoint.stop()
    job.status = job_pb2.JOB_STATUS_COMPLETED
    await asyncio.sleep(0.5)
    await endpoint.start()
    assert (await waiter).status == job_pb2.JOB_STATUS_COMPLETED


async def test_wait_for_an_unknown_job_fails(any_client: AnyClient) -> None:
    with pytest.raises(JobNotFound):
        await any_client.call("wait", JOB_ID)


async def test_deadline_ends_a_wait(any_client: AnyClient, server: FakeServer) -> None:
    server.add(status=job_pb2.JOB_STATUS_RUNNING)

    async def waiting(request: WaitRequest) -> WaitResponse:
        if not request.HasField("timeout"):
            await asyncio.Event().wait()
        return RUNNING

    server.waiting = waiting
    with pytest.raises(DeadlineExceeded):
        await any_client.call("wait", JOB_ID, deadline=0.3)


async def test_refused_wait_is_not_repeated(any_client: AnyClient, server: FakeServer) -> None:
    server.add()
    refused = Refusal(grpc.StatusCode.PERMISSION_DENIED, "no", "ROLE_REQUIRED")
    server.refusals["WaitJob"] = [refused]
    with pytest.raises(JobWorkerError, match="no"):
        await any_client.call("wait", JOB_ID)
    assert len(server.waited) == 1
