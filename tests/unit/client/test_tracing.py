"""Traces of both clients: spans with OpenTelemetry, and the trace of the environment without it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from jobworker_client import Client, ClientConfig, JobNotFound, telemetry
from jobworker_client.aio.stream_span import traced as aio_traced
from jobworker_client.sync.stream_span import traced as sync_traced
from scripted import JOB_ID, FakeServer, until
from scripted_messages import Refusal
from scripted_watch import play_watch
from tests.unit.client.conftest import AnyClient
from watch_messages import bookmark

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SERVICE = "jobworker.v1.JobService"


@pytest.fixture
def without_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program be one that has not imported OpenTelemetry."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans of a program that uses OpenTelemetry."""
    collected, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(collected))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield collected
    provider.shutdown()


def traceparent(span: ReadableSpan) -> str:
    context = span.context
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@pytest.mark.usefixtures("without_telemetry")
@pytest.mark.parametrize(
    ("parent", "state", "expected"),
    [
        (PARENT, "vendor=1", (PARENT, "vendor=1")),
        (PARENT, "", (PARENT, "")),
        (PARENT, "a=\N{SNOWMAN}", (PARENT, "")),
        (PARENT, f"a={600 * 'b'}", (PARENT, "")),
        ("", "vendor=1", ("", "")),
        ("line\nfeed", "vendor=1", ("", "")),
    ],
)
async def test_calls_belong_to_the_span_of_the_environment(
    any_client: AnyClient,
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    parent: str,
    state: str,
    expected: tuple[str, str],
) -> None:
    monkeypatch.setenv("TRACEPARENT", parent)
    monkeypatch.setenv("TRACESTATE", state)
    server.add()
    await any_client.call("get", JOB_ID)
    await any_client.rest(any_client.client.stream(JOB_ID))
    assert server.traces == [("GetJob", *expected), ("GetJobsStream", *expected)]


async def test_each_call_is_a_span(
    any_client: AnyClient, server: FakeServer, exporter: InMemorySpanExporter
) -> None:
    server.add()
    server.refusals["GetJob"] = [Refusal(grpc.StatusCode.UNAVAILABLE, "restarting")]
    await any_client.call("get", JOB_ID)
    with pytest.raises(JobNotFound):
        await any_client.call("get", JOB_ID.replace("0", "f"))
    spans = exporter.get_finished_spans()
    statuses = ["UNAVAILABLE", "OK", "NOT_FOUND"]
    assert [(span.attributes or {})["rpc.response.status_code"] for span in spans] == statuses
    assert [(span.attributes or {}).get("error.type") for span in spans] == ["UNAVAILABLE", None, "NOT_FOUND"]
    error, unset = StatusCode.ERROR, StatusCode.UNSET
    assert [span.status.status_code for span in spans] == [error, unset, error]
    assert {(span.name, span.kind) for span in spans} == {(f"{SERVICE}/GetJob", SpanKind.CLIENT)}
    assert [parent for _, parent, _ in server.traces] == [traceparent(span) for span in spans]


@pytest.mark.usefixtures("cluster")
async def test_spans_name_the_service_of_the_call(
    any_client: AnyClient, exporter: InMemorySpanExporter
) -> None:
    assert await any_client.list_nodes() == []
    assert [span.name for span in exporter.get_finished_spans()] == ["jobworker.v1.ClusterService/ListNodes"]


async def test_streams_are_spans_until_their_end(
    any_client: AnyClient, server: FakeServer, exporter: InMemorySpanExporter
) -> None:
    server.add()
    server.log = b"one"
    await any_client.rest(any_client.client.stream(JOB_ID))
    await any_client.rest(any_client.client.attach(JOB_ID))
    play_watch(server, [bookmark("x")])
    watch = any_client.client.watch()
    if isinstance(any_client.client, Client):
        async with watch as changes:  # type: ignore[union-attr]
            await anext(changes)
    else:
        with watch as changes:  # type: ignore[union-attr]
            await asyncio.to_thread(next, changes)
    await until(lambda: len(exporter.get_finished_spans()) == 3)
    spans = sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
    methods = ["GetJobsStream", "AttachJob", "WatchJobs"]
    assert [span.name for span in spans] == [f"{SERVICE}/{method}" for method in methods]
    assert {span.status.status_code for span in spans} == {StatusCode.UNSET}
    assert [trace[:2] for trace in server.traces] == [
        (method, traceparent(span)) for method, span in zip(methods, spans, strict=True)
    ]


async def test_the_current_span_is_the_parent_and_then_the_environment(
    any_client: AnyClient,
    server: FakeServer,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACEPARENT", PARENT)
    server.add()
    with trace.get_tracer("test").start_as_current_span("work") as work:
        await any_client.call("get", JOB_ID)
    await any_client.call("get", JOB_ID)
    (first, _, second) = exporter.get_finished_spans()
    assert first.parent == work.get_span_context()
    assert second.parent
    assert f"{second.parent.span_id:016x}" == PARENT.split("-")[2]


def test_open_telemetry_is_not_imported(config: ClientConfig) -> None:
    program = f"""
import sys
from jobworker_client import SyncClient, ClientConfig
with SyncClient(ClientConfig.from_directory({str(config.ca.parent)!r}, server="localhost:1")) as client:
    try:
        client.get("x", deadline=0.01)
    except Exception:
        pass
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_a_cancelled_call_ends_its_span(
    config: ClientConfig, server: FakeServer, exporter: InMemorySpanExporter
) -> None:
    server.add()
    waiting = asyncio.Event()

    async def never(_: object) -> None:
        waiting.set()
        await asyncio.Event().wait()

    server.creating = never  # type: ignore[assignment]
    async with Client(config) as client:
        call = asyncio.create_task(client.create("true"))
        await waiting.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    (span,) = exporter.get_finished_spans()
    assert (span.attributes or {})["rpc.response.status_code"] == "CANCELLED"


@pytest.mark.parametrize("fault", ["start", "end"])
async def test_a_fault_of_open_telemetry_changes_no_call(
    any_client: AnyClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The processors of a program can raise any exception."""

    class Faulty(SpanProcessor):
        def on_start(self, *_: object, **__: object) -> None:
            if fault == "start":
                raise ZeroDivisionError

        def on_end(self, *_: object) -> None:
            raise ZeroDivisionError

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Faulty())
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    monkeypatch.setenv("TRACEPARENT", PARENT)
    server.add()
    assert (await any_client.call("get", JOB_ID)).id == JOB_ID
    await any_client.rest(any_client.client.stream(JOB_ID))
    parents = {parent for _, parent, _ in server.traces}
    assert (parents == {PARENT}) == (fault == "start")


async def test_a_propagator_can_use_any_case(
    any_client: AnyClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The propagator of AWS X-Ray uses capitals. gRPC refuses keys with upper-case letters."""

    def inject(carrier: dict[str, str], _context: Context) -> None:
        carrier["Traceparent"] = PARENT

    monkeypatch.setattr(propagate, "inject", inject)
    server.add()
    await any_client.call("get", JOB_ID)
    assert server.traces == [("GetJob", PARENT, "")]


async def test_a_stream_that_cannot_start_ends_its_span(exporter: InMemorySpanExporter) -> None:
    def closed(*_: object, **__: object) -> None:
        raise ValueError("Cannot invoke RPC on closed channel!")

    with pytest.raises(ValueError, match="closed channel"):
        aio_traced("WatchJobs", closed)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="closed channel"):
        sync_traced("WatchJobs", closed)(None)
    statuses = [(span.attributes or {})["rpc.response.status_code"] for span in exporter.get_finished_spans()]
    assert statuses == ["CANCELLED", "CANCELLED"]


def test_a_program_without_a_provider_passes_its_trace_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", PARENT)
    assert dict(telemetry.begin("GetJob").metadata) == {"traceparent": PARENT}
