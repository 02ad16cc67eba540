"""Both clients: what they ask for, how they repeat it, how long they wait for it."""

import asyncio

import grpc
import pytest

from jobworker.v1 import job_pb2
from jobworker_client import DeadlineExceeded, JobNotRunning, Limits, ShuttingDown
from scripted import JOB_ID, CreateRequest, FakeServer, Refusal, StopRequest
from tests.unit.client.conftest import Shell

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
AWAY = Refusal(UNAVAILABLE, "restarting")


async def test_a_job_is_created_with_an_id_that_stays_the_same_over_attempts(
    shell: Shell, server: FakeServer
) -> None:
    server.refusals["CreateJob"] = [AWAY, AWAY]
    job = await shell.call("create", "echo", "a", "b", limits=Limits(cpu=50), labels={"k": "v"})
    assert (job.command, list(job.args)) == ("echo", ["a", "b"])
    first, *others = server.created
    assert (first.max_cpu, dict(first.labels)) == (50, {"k": "v"})
    assert first.request_id
    assert others == [first, first]


@pytest.mark.parametrize(
    ("name", "method"), [("get", "GetJob"), ("stop", "StopJob"), ("wait", "GetJobsStream")]
)
async def test_a_call_is_repeated_while_the_server_is_away(
    shell: Shell, server: FakeServer, name: str, method: str
) -> None:
    server.add()
    server.refusals[method] = [AWAY, AWAY]
    assert (await shell.call(name, JOB_ID)).id == JOB_ID
    assert not server.refusals[method]


async def test_a_server_that_stays_away_is_given_up(shell: Shell, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(UNAVAILABLE, "ending", "SHUTTING_DOWN") for _ in range(50)]
    with pytest.raises(ShuttingDown):
        await shell.call("get", JOB_ID)
    assert len(server.refusals["GetJob"]) == 45


async def test_run_waits_for_the_end_without_reading_the_output(shell: Shell, server: FakeServer) -> None:
    async def creating(_: CreateRequest) -> job_pb2.Job:
        server.add(status=job_pb2.JOB_STATUS_FAILED, exit_code=3)
        return job_pb2.Job(id=JOB_ID, status=job_pb2.JOB_STATUS_RUNNING)

    server.creating = creating
    job = await shell.call("run", "false")
    assert (job.status, job.exit_code) == (job_pb2.JOB_STATUS_FAILED, 3)
    [asked] = server.streamed
    assert asked.result_only


async def test_stop_says_how_long_the_job_is_left_alive(shell: Shell, server: FakeServer) -> None:
    server.add()
    await shell.call("stop", JOB_ID, grace_period=2.5)
    await shell.call("stop", JOB_ID)
    first, second = server.stopped
    assert first.grace_period.ToMilliseconds() == 2_500
    assert not second.HasField("grace_period")


async def test_update_sends_what_is_given_alone(shell: Shell, server: FakeServer) -> None:
    server.add()
    server.refusals["UpdateJob"] = [AWAY]
    updated = await shell.call("update", JOB_ID, memory=64, pids=0, cpu_set="0-1")
    assert updated.max_memory == 64
    request = server.updated[-1]
    assert {field.name: value for field, value in request.ListFields()} == {
        "id": JOB_ID,
        "max_memory": 64,
        "max_pids": 0,
        "cpu_set": "0-1",
    }


async def test_update_of_a_job_that_has_ended(shell: Shell, server: FakeServer) -> None:
    ended = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "it is completed", "JOB_NOT_RUNNING")
    server.refusals["UpdateJob"] = [ended]
    with pytest.raises(JobNotRunning, match="it is completed"):
        await shell.call("update", JOB_ID, cpu=5)


async def test_jobs_of_all_pages_are_listed(shell: Shell, server: FakeServer) -> None:
    ids = [server.add(f"0199f3a0-0000-7000-8000-{number:012}").id for number in range(7)]
    server.refusals["ListJobs"] = [AWAY]
    assert [job.id for job in await shell.listed(page_size=3)] == ids
    assert [job.id for job in await shell.listed(page_size=3, limit=4)] == ids[:4]
    assert [request.page_size for request in server.listed] == [3, 3, 3, 3, 3, 1]


async def test_a_deadline_bounds_a_call(shell: Shell, server: FakeServer) -> None:
    async def never(_: StopRequest) -> job_pb2.Job:
        await asyncio.Event().wait()
        raise AssertionError("it never happens")

    server.stopping = never
    with pytest.raises(DeadlineExceeded, match="did not answer in time") as raised:
        await shell.call("stop", JOB_ID, deadline=0.2)
    assert raised.value.code == "DEADLINE_EXCEEDED"


async def test_a_deadline_bounds_all_attempts_together(shell: Shell, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(UNAVAILABLE, "ending", "SHUTTING_DOWN") for _ in range(50)]
    with pytest.raises(ShuttingDown):
        # The last of the four pauses would end after it: at most four of five attempts are made.
        await shell.call("get", JOB_ID, deadline=1.4)
    assert len(server.refusals["GetJob"]) >= 46
