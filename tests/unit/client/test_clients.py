"""Tests of both clients: requests, retries and deadlines."""

import asyncio

import grpc
import pytest

from jobworker.v1 import job_pb2
from jobworker_client import DeadlineExceeded, JobNotFinal, JobNotFound, JobNotRunning, Limits, ShuttingDown
from jobworker_client.retry_policy import RetryPolicy
from scripted import JOB_ID, CreateRequest, FakeServer, StopRequest
from scripted_endpoint import Endpoint
from scripted_messages import Refusal
from tests.unit.client.conftest import AnyClient

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
AWAY = Refusal(UNAVAILABLE, "restarting")


async def test_retries_of_create_have_the_same_request_id(any_client: AnyClient, server: FakeServer) -> None:
    server.refusals["CreateJob"] = [AWAY, AWAY]
    job = await any_client.call("create", "echo", "a", "b", limits=Limits(max_cpu=50), labels={"k": "v"})
    assert (job.command, list(job.args)) == ("echo", ["a", "b"])
    first, *others = server.created
    assert (first.max_cpu, dict(first.labels)) == (50, {"k": "v"})
    assert first.request_id
    assert others == [first, first]


@pytest.mark.parametrize(("name", "method"), [("get", "GetJob"), ("stop", "StopJob"), ("wait", "WaitJob")])
async def test_call_is_retried_while_the_server_is_unavailable(
    any_client: AnyClient, server: FakeServer, name: str, method: str
) -> None:
    server.add()
    server.refusals[method] = [AWAY, AWAY]
    assert (await any_client.call(name, JOB_ID)).id == JOB_ID
    assert not server.refusals[method]


async def test_retries_end_if_the_server_stays_unavailable(any_client: AnyClient, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(UNAVAILABLE, "ending", "SHUTTING_DOWN") for _ in range(50)]
    with pytest.raises(ShuttingDown):
        await any_client.call("get", JOB_ID)
    assert len(server.refusals["GetJob"]) == 50 - 1 - len(RetryPolicy().call_backoff)


@pytest.mark.parametrize("connected", [False, True])
async def test_call_outlasts_a_restart_of_three_seconds(
    any_client: AnyClient, server: FakeServer, endpoint: Endpoint, *, connected: bool
) -> None:
    server.add()
    if connected:
        await any_client.call("get", JOB_ID)
    await endpoint.stop()
    call = asyncio.create_task(any_client.call("get", JOB_ID))
    await asyncio.sleep(3)
    await endpoint.start()
    assert (await call).id == JOB_ID


async def test_delete_removes_the_job(any_client: AnyClient, server: FakeServer) -> None:
    server.add()
    server.refusals["DeleteJob"] = [AWAY]
    await any_client.call("delete", JOB_ID)
    assert server.deleted == [JOB_ID, JOB_ID]
    with pytest.raises(JobNotFound):
        await any_client.call("delete", JOB_ID)


async def test_delete_succeeds_if_a_repeated_attempt_finds_no_job(
    any_client: AnyClient, server: FakeServer
) -> None:
    server.refusals["DeleteJob"] = [AWAY]
    await any_client.call("delete", JOB_ID)
    assert len(server.deleted) == 2


async def test_delete_of_a_running_job_fails(any_client: AnyClient, server: FakeServer) -> None:
    server.add(status=job_pb2.JOB_STATUS_RUNNING)
    with pytest.raises(JobNotFinal):
        await any_client.call("delete", JOB_ID)


async def test_run_waits_without_reading_the_output(any_client: AnyClient, server: FakeServer) -> None:
    async def creating(_: CreateRequest) -> job_pb2.Job:
        server.add(status=job_pb2.JOB_STATUS_FAILED, exit_code=3)
        return job_pb2.Job(id=JOB_ID, status=job_pb2.JOB_STATUS_RUNNING)

    server.creating = creating
    job = await any_client.call("run", "false")
    assert (job.status, job.exit_code) == (job_pb2.JOB_STATUS_FAILED, 3)
    assert [request.id for request in server.waited] == [JOB_ID]
    assert not server.streamed


async def test_stop_sends_the_grace_period(any_client: AnyClient, server: FakeServer) -> None:
    server.add()
    await any_client.call("stop", JOB_ID, grace_period=2.5)
    await any_client.call("stop", JOB_ID)
    first, second = server.stopped
    assert first.grace_period.ToMilliseconds() == 2_500
    assert not second.HasField("grace_period")


async def test_update_sends_only_the_given_limits(any_client: AnyClient, server: FakeServer) -> None:
    server.add()
    server.refusals["UpdateJob"] = [AWAY]
    updated = await any_client.call("update", JOB_ID, max_memory=64, max_pids=0, cpu_set="0-1")
    assert updated.max_memory == 64
    request = server.updated[-1]
    assert {field.name: value for field, value in request.ListFields()} == {
        "id": JOB_ID,
        "max_memory": 64,
        "max_pids": 0,
        "cpu_set": "0-1",
    }


async def test_update_of_an_ended_job_fails(any_client: AnyClient, server: FakeServer) -> None:
    ended = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "it is completed", "JOB_NOT_RUNNING")
    server.refusals["UpdateJob"] = [ended]
    with pytest.raises(JobNotRunning, match="it is completed"):
        await any_client.call("update", JOB_ID, max_cpu=5)


async def test_list_reads_all_pages(any_client: AnyClient, server: FakeServer) -> None:
    ids = [server.add(f"0199f3a0-0000-7000-8000-{number:012}").id for number in range(7)]
    server.refusals["ListJobs"] = [AWAY]
    assert [job.id for job in await any_client.list(page_size=3)] == ids
    assert [job.id for job in await any_client.list(page_size=3, limit=4)] == ids[:4]
    assert [request.page_size for request in server.listed] == [3, 3, 3, 3, 3, 1]


async def test_deadline_bounds_a_call(any_client: AnyClient, server: FakeServer) -> None:
    async def never(_: StopRequest) -> job_pb2.Job:
        await asyncio.Event().wait()
        raise AssertionError("the event is never set")

    server.stopping = never
    with pytest.raises(DeadlineExceeded, match="did not answer in time") as raised:
        await any_client.call("stop", JOB_ID, deadline=0.2)
    assert raised.value.code == "DEADLINE_EXCEEDED"


async def test_deadline_bounds_all_retries_together(any_client: AnyClient, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(UNAVAILABLE, "ending", "SHUTTING_DOWN") for _ in range(50)]
    with pytest.raises(ShuttingDown):
        # The last of the four delays would end after the deadline, so there are at most four attempts.
        await any_client.call("get", JOB_ID, deadline=1.4)
    assert len(server.refusals["GetJob"]) >= 46
