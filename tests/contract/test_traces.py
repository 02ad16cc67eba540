"""Traces at a real OTLP receiver: from the client over the server to the command of the job."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from conftest import BIN
from google.protobuf import duration_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from otlp_receiver import OtlpReceiver, ReceivedSpan, tree
from restarts import LastingClient, kill_supervisor, lasting_client
from traced_command import SPAN_OF_THE_COMMAND, run, traced_command

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server, eventually

CREATE = "jobworker.v1.JobService/CreateJob"
JOB = "jobworker.job"
STEPS = tuple(f"{JOB}.{step}" for step in ("spare_process", "cgroup", "record", "exec"))


class Caller:
    """A client of a server that exports spans to a receiver."""

    def __init__(self, client: LastingClient, receiver: OtlpReceiver) -> None:
        self.client = client
        self.receiver = receiver
        self.trace_id = secrets.token_hex(16)

    async def create(self, *argv: str, parent: str = "", **fields: object) -> tuple[job_pb2.Job, str]:
        """Create a job, and return it and the id of the client's span."""
        span_id = parent or secrets.token_hex(8)
        request = job_service_pb2.CreateJobRequest(command=argv[0], args=argv[1:], **fields)  # type: ignore[arg-type]
        metadata = [("traceparent", f"00-{self.trace_id}-{span_id}-01")]
        response = await self.client.stub.CreateJob(request, metadata=metadata, timeout=60)
        return response.job, span_id

    async def spans(self, *names: str) -> dict[str, ReceivedSpan]:
        """Wait for spans of the trace."""
        return await asyncio.to_thread(self.receiver.wait_for, self.trace_id, *names)


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver.started() as started:
        yield started


@pytest.fixture(scope="module")
def traced_server(
    certs: Path, receiver: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with two API processes that export spans. It runs one job at a time."""
    state = tmp_path_factory.mktemp("traced")
    flags = ("--api-processes", "2", "--max-jobs", "1")
    with Server.started(BIN, certs, state, *flags, **receiver.variables) as started:
        yield started


@pytest.fixture
async def caller(traced_server: Server, receiver: OtlpReceiver) -> AsyncIterator[Caller]:
    async with lasting_client(traced_server) as connected:
        yield Caller(connected, receiver)


async def test_a_run_is_one_trace_with_the_span_of_its_command(
    traced_server: Server, receiver: OtlpReceiver
) -> None:
    command = ("--network", "host", "--", *traced_command(receiver))
    done = await asyncio.to_thread(run, traced_server, receiver, *command)
    assert done.returncode == 0, done.stderr
    (root,) = [each for each in receiver.spans() if each.name == "jobworker run"]
    wanted = (JOB, *STEPS, SPAN_OF_THE_COMMAND)
    await asyncio.to_thread(receiver.wait_for, root.trace_id, *wanted)
    spans = receiver.spans(root.trace_id)
    print(tree(spans))
    by_id = {each.span_id: each for each in spans}
    assert len(by_id) == len(spans)
    assert root.parent_id == ""
    (job,) = [each for each in spans if each.name == JOB]
    (work,) = [each for each in spans if each.name == SPAN_OF_THE_COMMAND]
    created = by_id[job.parent_id]
    called = by_id[created.parent_id]
    assert [work.parent_id, created.name, called.name] == [job.span_id, CREATE, CREATE]
    assert called.parent_id == root.span_id
    assert {each.parent_id for each in spans if each.name in STEPS} == {created.span_id}
    services = [each.resource["service.name"] for each in (root, called, created, job, work)]
    assert services == ["jobworker", "jobworker", "jobworkerd", "jobworkerd", "command"]
    assert job.attributes["process.exit.code"] == 0
    assert job.span.start_time_unix_nano <= work.span.start_time_unix_nano
    assert work.span.end_time_unix_nano <= job.span.end_time_unix_nano


async def test_a_failed_run_is_an_error(traced_server: Server, receiver: OtlpReceiver) -> None:
    done = await asyncio.to_thread(
        run, traced_server, receiver, "--label", "test=fails", "sh", "-c", "exit 3"
    )
    assert done.returncode == 3
    root = [each for each in receiver.spans() if each.name == "jobworker run"][-1]
    spans = await asyncio.to_thread(receiver.wait_for, root.trace_id, JOB)
    assert root.attributes["process.exit.code"] == spans[JOB].attributes["process.exit.code"] == 3
    error = trace_pb2.Status.STATUS_CODE_ERROR
    assert [root.span.status.code, spans[JOB].span.status.code] == [error, error]
    assert spans[JOB].span.status.message == "exited with code 3"


async def test_the_span_of_a_job_survives_a_kill_of_the_supervisor(
    traced_server: Server, caller: Caller
) -> None:
    job, _ = await caller.create("sh", "-c", "echo $TRACEPARENT; sleep 1000")
    await caller.client.wrote(job.id, b"-01\n")
    await kill_supervisor(traced_server)
    await caller.client.get(job.id)
    await caller.client.stop(job.id, seconds=0)
    spans = await caller.spans(CREATE, JOB, *STEPS)
    assert spans[JOB].parent_id == spans[CREATE].span_id
    output = await caller.client.stream(job.id)
    assert output.bytes().decode().split("-")[1:3] == [caller.trace_id, spans[JOB].span_id]
    assert spans[JOB].attributes["jobworker.job.status"] == "stopped"


async def test_another_api_process_exports_what_a_killed_one_has_not(
    traced_server: Server, caller: Caller
) -> None:
    job, _ = await caller.create("sleep", "1000")
    await caller.spans(CREATE)
    with caller.receiver.stuck():
        await caller.client.stop(job.id, seconds=0)
        await eventually(lambda: bool(caller.receiver.waiting(JOB)))
        (request,) = caller.receiver.waiting(JOB)
        for each in traced_server.api_processes():
            each.kill()
        await eventually(lambda: not request.is_active())
    spans = await caller.spans(JOB)
    assert spans[JOB].parent_id == spans[CREATE].span_id
    await caller.client.get(job.id)
    assert [each.name for each in caller.receiver.spans(caller.trace_id)].count(JOB) == 1


async def test_a_queued_job_has_the_span_of_its_wait(caller: Caller) -> None:
    first, _ = await caller.create("sleep", "1000")
    timeout = duration_pb2.Duration(seconds=600)
    queued, _ = await caller.create("true", queue_timeout=timeout, request_id=caller.trace_id)
    assert queued.status == job_pb2.JOB_STATUS_QUEUED
    retried, retry = await caller.create("true", queue_timeout=timeout, request_id=caller.trace_id)
    assert retried.id == queued.id, "a retry with another parent is the same job"
    await caller.client.stop(first.id, seconds=0)
    await caller.client.ended(queued.id)
    spans = await caller.spans(JOB, f"{JOB}.queue", *STEPS)
    of_queued = {
        each.name: each
        for each in caller.receiver.spans(caller.trace_id)
        if each.attributes.get("jobworker.job.id") == queued.id
    }
    job = of_queued[JOB]
    assert job.parent_id not in {"", retry}
    assert spans[f"{JOB}.queue"].parent_id == job.span_id
