"""The trace of a client's call, in the job that it creates and in the calls to nodes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_server import Authority, Logged
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import DEFAULT_ON

from cluster_jobs import job, job_id
from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from jobworker.v1.job_service_pb2_grpc import JobServiceStub
from jobworkerd.rpc_server.interceptors.telemetry import Telemetry
from jobworkerd.rpc_server.rpc_spans import RpcSpans
from jobworkerd.rpc_server.telemetry import Exporting, SpanSource
from jobworkerd.trace_context import TraceContext
from running_gateway import Gateway, running_gateway
from scripted_node import ScriptedNode, answer, running_node
from server_fixtures import logged

__all__ = ["logged"]

ID = job_id(0)
RUNNING = job(ID, node="one", attempt=1)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SENT = (("traceparent", PARENT), ("tracestate", "a=1"))
UNUSABLE = (
    "",
    "00",
    PARENT[:-1],
    PARENT + "0",
    PARENT.upper(),
    f"ff{PARENT[2:]}",
    f"00-{'0' * 32}-{'1' * 16}-01",
    f"00-{'1' * 32}-{'0' * 16}-01",
    f"{PARENT}, {PARENT}",
    "~" * 4_000,
)


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority of the clients, of the gateway and of the node."""
    return Authority()


@pytest.fixture
async def node(authority: Authority, tmp_path: Path) -> AsyncIterator[ScriptedNode]:
    """A node with a running job."""
    (tmp_path / "node").mkdir()
    async with running_node(authority.ca, tmp_path / "node") as running:
        running.on("GetJob", answer(job_service_pb2.GetJobResponse(job=RUNNING)))
        running.on("GetJobsStream", answer(job_service_pb2.GetJobsStreamResponse(result=RUNNING)))
        running.on("AttachJob", answer())
        yield running


async def with_job(gateway: Gateway, node: ScriptedNode) -> None:
    """Let the gateway know the node and its job."""
    gateway.cluster.add_node("one", node.address)
    await gateway.cluster.put(RUNNING)


async def call_node(stub: JobServiceStub) -> None:
    """Make three calls that the gateway passes on."""
    await stub.GetJob(job_service_pb2.GetJobRequest(id=ID), metadata=SENT)
    request = job_service_pb2.GetJobsStreamRequest(id=ID, follow=False)
    async for _ in stub.GetJobsStream(request, metadata=SENT):
        pass
    start = job_service_pb2.AttachJobRequest(start=job_attach_pb2.AttachStart(id=ID))
    async for _ in stub.AttachJob(iter([start]), metadata=SENT):
        pass


@pytest.fixture
async def gateway(tmp_path: Path, authority: Authority, logged: Logged) -> AsyncIterator[Gateway]:
    """A gateway that exports nothing."""
    async with running_gateway(tmp_path, authority, logged) as running:
        yield running


async def test_without_an_exporter_the_client_is_the_parent(gateway: Gateway, node: ScriptedNode) -> None:
    await with_job(gateway, node)
    async with gateway.client() as channel:
        stub = JobServiceStub(channel)
        await stub.CreateJob(job_service_pb2.CreateJobRequest(command="true"), metadata=SENT)
        await call_node(stub)
    assert [each.trace for each in gateway.cluster.engine.submitted] == [TraceContext(PARENT, "a=1")]
    assert [method for method, _ in node.calls] == ["GetJob", "GetJobsStream", "AttachJob"]
    assert node.traces == [dict(SENT)] * 3


async def test_with_an_exporter_the_span_of_the_gateway_is_the_parent(
    tmp_path: Path, authority: Authority, logged: Logged, node: ScriptedNode
) -> None:
    spans: list[ReadableSpan] = []
    rpc_spans = RpcSpans(Resource({}), DEFAULT_ON, [spans.append])
    exporting: Exporting[SpanSource] = Exporting(
        (Telemetry(rpc_spans, MeterProvider(shutdown_on_exit=False)),)
    )
    async with running_gateway(tmp_path, authority, logged, exporting) as gateway:
        await with_job(gateway, node)
        async with gateway.client() as channel:
            stub = JobServiceStub(channel)
            await stub.CreateJob(job_service_pb2.CreateJobRequest(command="true"), metadata=SENT)
            await call_node(stub)
    (accepted,) = gateway.cluster.engine.submitted
    assert accepted.trace
    found = {accepted.trace.traceparent, *(each["traceparent"] for each in node.traces)}
    assert found == {f"{PARENT[:36]}{span.context.span_id:016x}-01" for span in spans}
    assert [each["tracestate"] for each in node.traces] == ["a=1"] * 3
    assert {f"{span.parent.span_id:016x}" for span in spans if span.parent} == {PARENT[36:52]}


@pytest.mark.parametrize("parent", UNUSABLE)
async def test_an_unusable_parent_is_ignored(gateway: Gateway, node: ScriptedNode, parent: str) -> None:
    await with_job(gateway, node)
    metadata = (("traceparent", parent), ("tracestate", "a=1"))
    async with gateway.client() as channel:
        stub = JobServiceStub(channel)
        created = await stub.CreateJob(job_service_pb2.CreateJobRequest(command="true"), metadata=metadata)
        await stub.GetJob(job_service_pb2.GetJobRequest(id=ID), metadata=metadata)
    assert created.job.status == job_pb2.JOB_STATUS_QUEUED
    assert [each.trace for each in gateway.cluster.engine.submitted] == [None]
    assert node.traces == [{}]
