"""The API process loads no modules after it has dropped its privileges, because its user may be unable to
read them.

Codecs are modules, too: Python imports a codec when a string first needs it.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from api_process import Start, Started, connected, get, starter
from api_server import FINAL_JOB, JOB, JOB_ID, Authority, Client, eventually
from certificates import authority as make_authority
from certificates import issue, name, pair
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from msgspec.structs import replace

from jobworker.v1 import job_service_pb2
from jobworkerd.config import ApiConfig, Config, MetricsConfig, listen_address
from jobworkerd.logs.writer import LogWriter
from jobworkerd.metrics.definitions import CERTIFICATE_EXPIRY, QUEUE_LENGTH, RPC_DURATION
from jobworkerd.metrics.instruments import Sample, Snapshot, decode, encode, sample
from jobworkerd.model import JobStatus, OutputSource, Termination, TerminationReason, Usage
from jobworkerd.protocol import messages
from jobworkerd.protocol.metrics_messages import GetMetrics, Metrics, Scrape, Scraped
from jobworkerd.protocol.span_messages import SpanEnded
from jobworkerd.supervisor.port import reserve
from jobworkerd.trace_context import JobTrace, Step, TraceContext

_AUDITED = """
import json, os, sys
from jobworkerd.rpc_server import environment
environment.prepare()
from jobworkerd.api import main
from jobworkerd.api import privileges

dropped = []
def audit(event, arguments):
    if not dropped:
        return
    what = str(arguments[0]) if event in ("import", "open") else ""
    # Printing a traceback reads the source code, but works without it.
    if event == "import" or what.endswith((".pyc", ".so")):
        os.write(2, json.dumps({"event": "loaded late", "what": f"{event} {what}"}).encode() + b"\\n")

sys.addaudithook(audit)
privileges.drop = lambda *given: dropped.append(True)
sys.exit(main.run(sys.argv[1:]))
"""


@pytest.fixture
def start() -> Start:
    """Start an API process."""
    return starter()


def _loaded_late(started: Started) -> list[object]:
    return [event["what"] for event in started.events if event["event"] == "loaded late"]


async def _fails(call: grpc.aio.Call) -> None:
    """Wait for the end of a call and check that it fails."""
    assert await asyncio.wait_for(call.code(), 20) is not grpc.StatusCode.OK


@pytest.mark.parametrize("exporter", ["none", "console", "otlp"])
async def test_calls_and_shutdown(start: Start, config: Config, authority: Authority, exporter: str) -> None:
    exporters = {"OTEL_TRACES_EXPORTER": exporter, "OTEL_METRICS_EXPORTER": exporter}
    if exporter == "otlp":  # the others would fill the pipe
        exporters["OTEL_METRIC_EXPORT_INTERVAL"] = "50"
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    LogWriter.create(_directory(config)).append(OutputSource.STDOUT, memoryview(b"one\ntwo\n"), 1)
    config = replace(config, api=ApiConfig(reflection=True))
    async with start(config, ("-c", _AUDITED), **exporters, **endpoint) as started:
        async with connected(await started.address(), authority) as client:
            await _call_all_methods(client, started)
            await _trace_a_job(client, started)
        assert await started.end() == 0
    assert _loaded_late(started) == []


def _directory(config: Config) -> Path:
    directory = Path(config.state_dir) / JOB_ID
    directory.mkdir()
    return directory


async def _call_all_methods(client: Client, started: Started) -> None:
    stub = client.stub
    assert await get(client) == JOB_ID
    await stub.CreateJob(job_service_pb2.CreateJobRequest(command="true", labels={"a": "b"}), timeout=20)
    await stub.StopJob(job_service_pb2.StopJobRequest(id=JOB_ID), timeout=20)
    await stub.UpdateJob(job_service_pb2.UpdateJobRequest(id=JOB_ID, max_cpu=5), timeout=20)
    await _fails(stub.CreateJob(job_service_pb2.CreateJobRequest(command="\0", stop_signal="x")))
    await _fails(stub.GetJob(job_service_pb2.GetJobRequest(id="\N{SNOWMAN}")))
    for method, request in (("GetJob", b"\xff\xff"), ("Nothing", b"")):
        raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        raw = client.channel.unary_unary(f"/jobworker.v1.JobService/{method}")
        await _fails(raw(request))
    await _read(client, started)
    await _call_other_services(client)
    started.supervisor.script = lambda _: messages.Fault("the supervisor's")
    await _fails(stub.GetJob(job_service_pb2.GetJobRequest(id=JOB_ID)))


async def _trace_a_job(client: Client, started: Started) -> None:
    """Let the supervisor report the steps and the end of a job with a span."""
    trace = TraceContext("00-" + "1" * 32 + "-" + "2" * 16 + "-01", "a=1", exported=True)
    job = replace(JOB, trace=JobTrace(trace, "3" * 16, (Step("exec", 1, 2),)))

    def answer(body: messages.RequestBody) -> messages.OneJob:
        assert isinstance(body, messages.StartJob)
        own = JobTrace(body.trace or trace, "3" * 16, (Step("exec", 1, 2),))
        return messages.OneJob(replace(job, trace=own))

    started.supervisor.script = answer
    metadata = [("traceparent", trace.traceparent), ("tracestate", trace.tracestate)]
    request = job_service_pb2.CreateJobRequest(command="true")
    await client.stub.CreateJob(request, metadata=metadata, timeout=20)
    termination = Termination(reason=TerminationReason.EXITED, signal=9, message="why")
    usage = Usage(oom_kill_count=1)
    final = replace(job, status=JobStatus.FAILED, termination=termination, usage=usage)
    await started.supervisor.say(SpanEnded(final))
    await client.stub.CreateJob(request, timeout=20)


async def _read(client: Client, started: Started) -> None:
    started.supervisor.script = lambda _: messages.JobPage((FINAL_JOB,), next_before=JOB_ID)
    page = await client.stub.ListJobs(job_service_pb2.ListJobsRequest(), timeout=20)
    request = job_service_pb2.ListJobsRequest(page_token=page.next_page_token)
    await client.stub.ListJobs(request, timeout=20)
    await _fails(client.stub.ListJobs(job_service_pb2.ListJobsRequest(page_token="?")))
    started.supervisor.script = lambda _: messages.OneJob(replace(FINAL_JOB, log_size=8))
    wanted = job_service_pb2.GetJobsStreamRequest(id=JOB_ID, tail_lines=1)
    answer = [message async for message in client.stub.GetJobsStream(wanted, timeout=20)]
    assert b"".join(message.payload for message in answer) == b"two\n"
    await _fails(client.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=JOB_ID, offset=99)))


async def _call_other_services(client: Client) -> None:
    health = health_pb2_grpc.HealthStub(client.channel)
    await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
    await health.List(health_pb2.HealthListRequest(), timeout=20)
    watch = health.Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    watch.cancel()
    request = reflection_pb2.ServerReflectionRequest
    requests = iter(
        [request(list_services=""), request(file_containing_symbol="jobworker.v1.Job"), request()]
    )
    reflection = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    assert len([each async for each in reflection.ServerReflectionInfo(requests, timeout=20)]) == 3


_TYPES = ["BMPString", "UniversalString", "T61String", "PrintableString", "IA5String", "VisibleString"]


@pytest.mark.parametrize("kind", _TYPES)
async def test_a_subject_of_any_string_type(
    start: Start, config: Config, authority: Authority, kind: str
) -> None:
    attribute = x509.NameAttribute(NameOID.COMMON_NAME, "alice", getattr(_ASN1Type, kind))
    certificate = issue(pair(authority.ca), subject=name(attribute))
    async with start(config, ("-c", _AUDITED)) as started:
        async with connected(await started.address(), authority, certificate) as client:
            assert await get(client) == JOB_ID
        await started.end()
    assert _loaded_late(started) == []
    rpc = started.event("rpc")
    assert rpc
    assert rpc["subject"] == "CN=alice,OU=Admin"


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa", "p521", "ed25519"],
)
async def test_an_authority_with_any_key(
    start: Start, config: Config, authority: Authority, key: rsa.RSAPrivateKey
) -> None:
    """One file contains the authorities of the server and of the client."""
    clients = make_authority(key)
    with (Path(config.certs_dir) / "ca.pem").open("ab") as file:
        file.write(clients.certificate)
    async with start(config, ("-c", _AUDITED)) as started:
        async with connected(await started.address(), authority, issue(clients)) as client:
            assert await get(client) == JOB_ID
        await started.end()
    assert _loaded_late(started) == []


async def test_renewals(start: Start, config: Config, authority: Authority) -> None:
    async with start(config, ("-c", _AUDITED)) as started:
        address = await started.address()
        certs = Path(config.certs_dir)
        unusable = [b"nonsense", issue(pair(authority.ca), ed448.Ed448PrivateKey.generate()).certificate]
        await _renew(started, address, authority, unusable, certs)
        authority.write_server(certs)
        await eventually(lambda: started.event("certificates renewed"))
        await started.end()
    assert _loaded_late(started) == []


async def _renew(
    started: Started, address: str, authority: Authority, contents: Sequence[bytes], certs: Path
) -> None:
    """Replace the server certificate by unusable contents, one after the other."""
    for number, content in enumerate(contents, 1):
        (certs / "server.pem").write_bytes(content)

        def reported(number: int = number) -> bool:
            return len([e for e in started.events if e["event"] == "certificates not renewed"]) == number

        await eventually(reported)
        async with connected(address, authority) as client:
            assert await get(client) == JOB_ID


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0"])
async def test_scrapes(start: Start, config: Config, authority: Authority, listen: str) -> None:
    """Without and with TLS, in both forms, and with an unusable request."""
    port = reserve(listen)
    config = replace(config, metrics=MetricsConfig(listen=port.address))
    context = None if listen.startswith("127.") else _client_context(authority)
    with port.sock:
        samples = await _scraped(start, config, authority, context)
    durations = [each.attributes for each in samples if each.metric == RPC_DURATION.name]
    assert durations == [("jobworker.v1.JobService/GetJob", "NOT_FOUND")]
    certificates = {each.attributes for each in samples if each.metric == CERTIFICATE_EXPIRY.name}
    assert certificates == {("server",), ("ca",)}


async def _scraped(
    start: Start, config: Config, authority: Authority, context: ssl.SSLContext | None
) -> Sequence[Sample]:
    """Scrape the endpoint after a failed call, and return the samples of the process."""
    async with start(config, ("-c", _AUDITED)) as started:
        started.supervisor.script = _metrics
        async with connected(await started.address(), authority) as client:
            await _fails(client.stub.GetJob(job_service_pb2.GetJobRequest(id="?")))
        for accept in (b"*/*", b"application/openmetrics-text", b"\xff"):
            request = b"GET /metrics HTTP/1.1\r\nAccept: %s\r\n\r\n" % accept
            assert "jobworker_queue_length 3" in await _http(config, request, context)
        assert "400 Bad Request" in await _http(config, b"\xff\r\n\r\n", context)
        await started.supervisor.say(Scrape())
        await eventually(lambda: any(isinstance(each, Scraped) for each in started.supervisor.requests))
        assert await started.end() == 0
    assert _loaded_late(started) == []
    (scraped,) = [each for each in started.supervisor.requests if isinstance(each, Scraped)]
    return decode(scraped.snapshot).samples


def _metrics(request: messages.RequestBody) -> messages.ReplyBody:
    if isinstance(request, GetMetrics):
        return Metrics(encode(Snapshot(0, (sample(QUEUE_LENGTH, 3),))), (None,))
    return messages.OneJob(FINAL_JOB)


def _client_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.ca.cert_pem.bytes().decode())
    authority.client("alice", "Viewer").configure_cert(context)
    return context


async def _http(config: Config, request: bytes, context: ssl.SSLContext | None) -> str:
    name = "localhost" if context else None
    _, port = listen_address(config.metrics.listen)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    writer.write(request)
    async with asyncio.timeout(20):
        answer = (await reader.read()).decode()
    writer.close()
    return answer


async def test_an_unusable_address(start: Start, config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = replace(config, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        async with start(config, ("-c", _AUDITED)) as started:
            assert await asyncio.wait_for(started.process.wait(), 20) == 1
    assert _loaded_late(started) == []
    assert started.event("cannot start")
