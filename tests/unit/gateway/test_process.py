"""The program `jobworker-gateway`: its start without Kubernetes, and its end."""

import signal
from functools import partial
from pathlib import Path

import pytest
from api_server import Authority, eventually
from grpc_health.v1 import health_pb2, health_pb2_grpc
from otlp_metrics_receiver import OtlpMetricsReceiver
from otlp_receiver import OtlpReceiver

from gateway_program import connect, ended, event, started

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: closed, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: gateway, user: {token: token}}]
contexts: [{name: closed, context: {cluster: closed, user: gateway}}]
current-context: closed
"""


@pytest.fixture(scope="module")
def clients() -> Authority:
    """The authority of the clients and of the gateway."""
    return Authority()


@pytest.fixture
def directory(tmp_path: Path, clients: Authority) -> Path:
    """A directory with certificates and the address of a Kubernetes that does not answer."""
    (tmp_path / "certs").mkdir()
    clients.write_gateway(tmp_path / "certs")
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    return tmp_path


async def test_without_kubernetes_a_gateway_starts_and_does_not_serve(
    directory: Path, clients: Authority
) -> None:
    async with started(directory) as process:
        listening = await event(process, "listening")
        assert listening["process"] == "gateway"
        async with connect(listening["address"], clients, "Viewer") as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0


NO_KUBECONFIG = "kubeconfig: /missing cannot be used: No such file or directory"
NO_ARCHIVE = (
    "archive: /missing/archive.sqlite cannot be used: unable to open database file; choose another file"
)
NO_CERTIFICATE = (
    "certificate for nodes: /missing/ca.pem: cannot read the file: No such file or directory; "
    "create it with `jobworkerd certs issue gateway --role gateway`"
)


@pytest.mark.parametrize(
    ("flag", "value", "sentence"),
    [
        ("kubeconfig", "/missing", NO_KUBECONFIG),
        ("archive", "sqlite:/missing/archive.sqlite", NO_ARCHIVE),
        ("certs-dir", "/missing", NO_CERTIFICATE),
    ],
)
async def test_a_gateway_that_cannot_start_says_why(
    directory: Path, flag: str, value: str, sentence: str
) -> None:
    async with started(directory, {}, **{flag: value}) as process:
        assert (await event(process, "cannot start"))["reason"] == sentence
        assert await ended(process) == 1


@pytest.mark.parametrize(
    "address",
    [
        "jobs:s3cr%zzet@127.0.0.1:1/jobs",
        "jobs:s3cret%@127.0.0.1:1/jobs",
        "jobs:p%00s3cret@127.0.0.1:1/jobs",
        "jobs:p@s3cret@127.0.0.1:1/jobs",
        "jobs:s3cret/p@127.0.0.1:1/jobs",
        "jobs:s3cret@[::1/jobs",
        "jobs@127.0.0.1:1/jobs?password=s3cr%zzet",
    ],
)
async def test_no_part_of_a_password_is_in_the_log(directory: Path, address: str) -> None:
    async with started(directory, archive=f"postgresql://{address}") as process:
        _, stderr = await process.communicate()
    assert process.returncode == 1
    log = stderr.decode()
    assert "s3cr" not in log
    assert "write each special character of the password as % and two hexadecimal digits" in log


TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"


async def test_a_gateway_exports_the_spans_of_its_calls(directory: Path, clients: Authority) -> None:
    metadata = [("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01")]
    with OtlpReceiver.started() as receiver:
        async with started(directory, receiver.variables) as process:
            address = (await event(process, "listening"))["address"]
            async with connect(address, clients, "Viewer") as channel:
                await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), metadata=metadata
                )
            line = await event(process, "rpc")
            process.send_signal(signal.SIGTERM)
            assert await ended(process) == 0
        (span,) = receiver.spans(TRACE_ID)
    assert (span.name, span.parent_id) == ("grpc.health.v1.Health/Check", PARENT_ID)
    assert span.resource["service.name"] == "jobworker-gateway"
    assert (line["trace_id"], line["span_id"]) == (TRACE_ID, span.span_id)


async def test_a_gateway_exports_its_metrics(directory: Path, clients: Authority) -> None:
    with OtlpMetricsReceiver.started() as receiver:
        async with started(directory, receiver.variables) as process:
            address = (await event(process, "listening"))["address"]
            async with connect(address, clients, "Viewer") as channel:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
                for name in ("rpc.server.call.duration", "jobworker.queue.length", "jobworker.cluster.nodes"):
                    await eventually(partial(receiver.instances, name))
            process.send_signal(signal.SIGTERM)
            assert await ended(process) == 0
    assert len({each.instance for each in receiver.metrics}) == 1


async def test_an_unknown_exporter_ends_the_start(directory: Path) -> None:
    async with started(directory, {"OTEL_TRACES_EXPORTER": "carrier-pigeon"}) as process:
        assert "unknown exporter 'carrier-pigeon'" in (await event(process, "cannot start"))["reason"]
        assert await ended(process) == 1


async def test_a_setting_that_is_not_accepted_ends_the_start(directory: Path) -> None:
    async with started(directory, namespace="Jobs") as process:
        _, stderr = await process.communicate()
    assert process.returncode == 1
    assert stderr.decode() == (
        'error: namespace: "Jobs" (flag --namespace) is not accepted; use the name of a namespace\n'
    )
