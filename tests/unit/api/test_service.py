"""JobService over mTLS: requests to the supervisor and responses to the client."""

import asyncio
from pathlib import Path

import grpc
import pytest
from api_server import FINAL_JOB, JOB, JOB_ID, LIMITS, SPEC, Api, Client, eventually, refusal, write_log
from msgspec.structs import replace

from jobworker.v1 import job_pb2, job_service_pb2
from jobworkerd import errors
from jobworkerd.config import Config
from jobworkerd.model import JobStatus, LimitsUpdate
from jobworkerd.protocol import messages
from jobworkerd.trace_context import TraceContext


async def test_create_sends_the_validated_request_with_the_subject_of_the_client(api: Api) -> None:
    async with api.client() as client:
        response = await client.stub.CreateJob(job_service_pb2.CreateJobRequest(command="true", max_cpu=25))
    assert response.job.id == JOB_ID
    assert response.job.status == job_pb2.JOB_STATUS_RUNNING
    (start,) = api.supervisor.requests
    assert isinstance(start, messages.StartJob)
    limits = replace(LIMITS, max_cpu=25)
    assert start.spec == replace(SPEC, owner=start.spec.owner, limits=limits, max_scratch=256)
    assert start.spec.owner.startswith("CN=alice,OU=Admin,")


async def test_create_sends_the_trace_of_the_client(api: Api) -> None:
    trace = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", "a=1,b=2")
    metadata = [("traceparent", trace.traceparent), ("tracestate", "a=1"), ("tracestate", "b=2")]
    request = job_service_pb2.CreateJobRequest(command="true")
    async with api.client() as client:
        await client.stub.CreateJob(request, metadata=metadata)
        await client.stub.CreateJob(request)
    starts = [each for each in api.supervisor.requests if isinstance(each, messages.StartJob)]
    assert [each.trace for each in starts] == [trace, None]
    assert starts[0].spec == starts[1].spec


async def test_get_returns_the_job(api: Api) -> None:
    async with api.client("Viewer") as client:
        response = await client.stub.GetJob(job_service_pb2.GetJobRequest(id=JOB_ID))
    assert response.job.pid == JOB.pid
    assert api.supervisor.requests == [messages.GetJob(JOB_ID)]


async def test_stop_has_the_subject_of_the_client(api: Api) -> None:
    api.supervisor.script = lambda _: messages.OneJob(FINAL_JOB)
    request = job_service_pb2.StopJobRequest(id=JOB_ID)
    request.grace_period.FromMilliseconds(1_500)
    async with api.client() as client:
        response = await client.stub.StopJob(request)
    assert response.job.status == job_pb2.JOB_STATUS_COMPLETED
    (stop,) = api.supervisor.requests
    assert isinstance(stop, messages.StopJob)
    assert (stop.job_id, stop.grace_period) == (JOB_ID, 1.5)
    assert stop.subject.startswith("CN=alice,OU=Admin,")


async def test_update_has_the_subject_of_the_client(api: Api) -> None:
    request = job_service_pb2.UpdateJobRequest(id=JOB_ID, max_memory=64)
    async with api.client() as client:
        response = await client.stub.UpdateJob(request)
    assert response.job.id == JOB_ID
    (update,) = api.supervisor.requests
    assert isinstance(update, messages.UpdateJob)
    assert (update.job_id, update.limits) == (JOB_ID, LimitsUpdate(max_memory=64))
    assert update.subject.startswith("CN=alice,OU=Admin,")


async def test_update_of_a_job_that_has_ended(api: Api) -> None:
    failure = messages.Failure(*errors.to_wire(errors.JobNotRunning(JOB_ID, "completed")))
    api.supervisor.script = lambda _: failure
    async with api.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub.UpdateJob(job_service_pb2.UpdateJobRequest(id=JOB_ID, max_cpu=5))
    found = refusal(caught.value)
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_RUNNING")
    assert found.metadata == {"job_id": JOB_ID, "status": "completed"}


async def test_delete_has_the_subject_of_the_client(api: Api) -> None:
    api.supervisor.script = lambda _: messages.Done()
    async with api.client() as client:
        await client.stub.DeleteJob(job_service_pb2.DeleteJobRequest(id=JOB_ID))
    (delete,) = api.supervisor.requests
    assert isinstance(delete, messages.DeleteJob)
    assert delete.job_id == JOB_ID
    assert delete.subject.startswith("CN=alice,OU=Admin,")
    assert api.events("rpc")[-1]["job_id"] == JOB_ID


async def test_delete_of_a_job_that_runs(api: Api) -> None:
    failure = messages.Failure(*errors.to_wire(errors.JobNotFinal(JOB_ID, "running")))
    api.supervisor.script = lambda _: failure
    async with api.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub.DeleteJob(job_service_pb2.DeleteJobRequest(id=JOB_ID))
    found = refusal(caught.value)
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_FINAL")
    assert found.metadata == {"job_id": JOB_ID, "status": "running"}


async def test_list_returns_a_token_for_the_next_page(api: Api) -> None:
    api.supervisor.script = lambda _: messages.JobPage((JOB,), next_before=JOB_ID)
    async with api.client("Viewer") as client:
        page = await client.stub.ListJobs(job_service_pb2.ListJobsRequest(page_size=1))
        assert [job.id for job in page.jobs] == [JOB_ID]
        api.supervisor.script = lambda _: messages.JobPage(())
        request = job_service_pb2.ListJobsRequest(page_token=page.next_page_token)
        last = await client.stub.ListJobs(request)
    assert not last.next_page_token
    assert [
        request.before for request in api.supervisor.requests if isinstance(request, messages.ListJobs)
    ] == [
        "",
        JOB_ID,
    ]


async def test_an_empty_page_can_have_a_token(api: Api) -> None:
    api.supervisor.script = lambda _: messages.JobPage((), next_before=JOB_ID)
    async with api.client("Viewer") as client:
        page = await client.stub.ListJobs(job_service_pb2.ListJobsRequest())
        await client.stub.ListJobs(job_service_pb2.ListJobsRequest(page_token=page.next_page_token))
    following = api.supervisor.requests[-1]
    assert isinstance(following, messages.ListJobs)
    assert following.before == JOB_ID


async def test_a_page_ends_before_the_size_limit_of_a_message(api: Api) -> None:
    ids = [f"0199f3a0-0000-7000-8000-{number:012}" for number in range(40)]
    large = replace(SPEC, args=("x" * 131_071,))
    api.supervisor.script = lambda _: messages.JobPage(
        tuple(replace(JOB, id=each, spec=large) for each in ids)
    )
    async with api.client() as client:
        page = await client.stub.ListJobs(job_service_pb2.ListJobsRequest())
        assert 0 < len(page.jobs) < len(ids)
        assert page.next_page_token
        await client.stub.ListJobs(job_service_pb2.ListJobsRequest(page_token=page.next_page_token))
    following = api.supervisor.requests[-1]
    assert isinstance(following, messages.ListJobs)
    assert following.before == page.jobs[-1].id


async def test_a_final_job_is_requested_once_until_it_is_forgotten(api: Api) -> None:
    api.supervisor.script = lambda _: messages.FinalJob(FINAL_JOB)
    request = job_service_pb2.GetJobRequest(id=JOB_ID)
    async with api.client("Viewer") as client:
        first, second = [await client.stub.GetJob(request) for _ in range(2)]
        assert first == second
        assert api.supervisor.requests == [messages.GetJob(JOB_ID)]
        failure = messages.Failure(*errors.to_wire(errors.JobNotFound(JOB_ID)))
        api.supervisor.script = lambda _: failure
        await api.supervisor.say(messages.Forgotten(JOB_ID))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _until_refused(client, request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def _until_refused(client: Client, request: job_service_pb2.GetJobRequest) -> None:
    """Repeat the call until the frame that announces the forgotten job has arrived."""
    async with asyncio.timeout(30):
        while True:
            await client.stub.GetJob(request)


async def test_stream_ends_with_the_result(api: Api, config: Config) -> None:
    write_log(Path(config.state_dir, "jobs"))
    api.supervisor.script = lambda _: messages.OneJob(FINAL_JOB)
    request = job_service_pb2.GetJobsStreamRequest(id=JOB_ID)
    async with api.client("Viewer") as client:
        received = [message async for message in client.stub.GetJobsStream(request)]
    assert [message.result.status for message in received] == [job_pb2.JOB_STATUS_COMPLETED]


STREAMING = [
    method.name
    for method in job_service_pb2.DESCRIPTOR.services_by_name["JobService"].methods
    if method.server_streaming
]


@pytest.mark.parametrize("method", STREAMING)
async def test_the_stream_of_a_silent_job_sends_its_headers_immediately(
    api: Api, config: Config, method: str
) -> None:
    write_log(Path(config.state_dir, "jobs"))
    request = job_service_pb2.GetJobsStreamRequest(id=JOB_ID)
    async with api.client() as client:
        stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
        stream = client.channel.unary_stream(f"/jobworker.v1.JobService/{method}")
        call = stream(request.SerializeToString())
        async with asyncio.timeout(10):
            await call.initial_metadata()
        call.cancel()


async def test_the_stream_of_a_queued_job_waits_for_its_log(api: Api, config: Config) -> None:
    api.supervisor.script = lambda _: messages.OneJob(replace(JOB, status=JobStatus.QUEUED))
    received: list[job_service_pb2.GetJobsStreamResponse] = []

    async def stream(client: Client) -> None:
        request = job_service_pb2.GetJobsStreamRequest(id=JOB_ID, tail_lines=3)
        received.extend([message async for message in client.stub.GetJobsStream(request)])

    async with api.client("Viewer") as client:
        streaming = asyncio.create_task(stream(client))
        await eventually(lambda: messages.Follow(JOB_ID) in api.supervisor.requests)
        write_log(Path(config.state_dir, "jobs"), b"hello")
        await api.supervisor.say(messages.Progress(JOB_ID, 5))
        await api.supervisor.say(messages.Progress(JOB_ID, 5, replace(FINAL_JOB, log_size=5)))
        await streaming
    assert [message.WhichOneof("kind") for message in received] == ["start_offset", "payload", "result"]
    assert received[1].payload == b"hello"


@pytest.mark.parametrize("options", [{}, {"tail_lines": 3}, {"follow": False}])
async def test_the_stream_of_a_job_that_never_ran_has_only_the_result(
    api: Api, options: dict[str, object]
) -> None:
    api.supervisor.script = lambda _: messages.OneJob(replace(FINAL_JOB, status=JobStatus.STOPPED))
    request = job_service_pb2.GetJobsStreamRequest(id=JOB_ID, **options)  # type: ignore[arg-type]
    async with api.client("Viewer") as client:
        received = [message async for message in client.stub.GetJobsStream(request)]
    assert received[-1].result.status == job_pb2.JOB_STATUS_STOPPED
    assert not any(message.payload for message in received)


@pytest.mark.parametrize(("offset", "reason"), [(6, "OFFSET_OUT_OF_RANGE"), (0, "JOB_NOT_FOUND")])
async def test_a_refused_stream_sends_no_headers_before_its_status(
    api: Api, offset: int, reason: str
) -> None:
    """A missing log belongs to a job that was dropped after the request."""
    api.supervisor.script = lambda _: messages.OneJob(replace(JOB, log_size=5))
    async with api.client() as client:
        call = client.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=JOB_ID, offset=offset))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert refusal(caught.value).reason == reason
    assert not dict(caught.value.initial_metadata())


@pytest.mark.parametrize("job_id", ["", "nonsense", JOB_ID.upper().replace("0", "A"), "x" * 100_000])
async def test_an_id_with_a_wrong_format_is_not_sent_to_the_supervisor(api: Api, job_id: str) -> None:
    async with api.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub.GetJob(job_service_pb2.GetJobRequest(id=job_id))
    refused = refusal(caught.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    assert refused.metadata == {"job_id": job_id[:64]}
    assert not api.supervisor.requests


async def test_an_error_of_the_supervisor_reaches_the_client_with_its_details(api: Api) -> None:
    failure = messages.Failure(*errors.to_wire(errors.CommandNotStarted("command", "ENOENT", "no such file")))
    api.supervisor.script = lambda _: failure
    async with api.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub.CreateJob(job_service_pb2.CreateJobRequest(command="/nowhere"))
    refused = refusal(caught.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "COMMAND_NOT_STARTED")
    assert refused.metadata["errno"] == "ENOENT"
    assert {"ErrorInfo", "BadRequest"} == set(refused.details)


async def test_drain_refuses_new_jobs_and_serves_other_calls(api: Api) -> None:
    async with api.client() as client:
        await api.supervisor.say(messages.Drain())
        assert await _create_until_refused(client) == "SHUTTING_DOWN"
        assert (await client.stub.GetJob(job_service_pb2.GetJobRequest(id=JOB_ID))).job.id == JOB_ID


async def _create_until_refused(client: Client) -> str:
    async with asyncio.timeout(10):
        while True:
            try:
                await client.stub.CreateJob(job_service_pb2.CreateJobRequest(command="true"))
            except grpc.aio.AioRpcError as error:
                return refusal(error).reason


async def test_the_end_of_the_supervisor_is_unavailable_not_internal(api: Api) -> None:
    api.supervisor.script = lambda _: None
    async with api.client() as client:
        call = client.stub.GetJob(job_service_pb2.GetJobRequest(id=JOB_ID))
        await eventually(lambda: api.supervisor.requests)
        api.supervisor.close()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert refusal(caught.value).reason == "SUPERVISOR_UNAVAILABLE"
    await api.running
