"""The API process: port, handshakes, log, telemetry and end."""

import asyncio
import contextlib
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import grpc
import pytest
import trustme
from api_process import Start, Started, connected, failure, get, starter
from api_server import JOB_ID, Authority, eventually
from grpc_health.v1 import health_pb2, health_pb2_grpc
from msgspec.structs import replace

from jobworkerd.config import Config
from jobworkerd.protocol import messages


@pytest.fixture
def start() -> Start:
    """Start an API process."""
    return starter()


async def test_start_serve_and_end(start: Start, config: Config, authority: Authority) -> None:
    async with start(config) as started:
        address = await started.address()
        assert address.startswith("127.0.0.1:")
        assert not address.endswith(":0")
        async with connected(address, authority) as client:
            assert await get(client) == JOB_ID
        assert await started.end() == 0
    assert [event["event"] for event in started.events] == ["listening", "authorization", "rpc"]
    for event in started.events:
        assert {"timestamp", "level", "event"} <= set(event)
        assert event["process"] == "api"
        assert str(event["timestamp"]).endswith("Z")
    rpc = started.event("rpc")
    assert rpc
    assert (rpc["status"], rpc["role"], rpc["job_id"]) == ("OK", "Admin", JOB_ID)


async def test_the_traceback_of_a_bug_is_one_line_of_the_log(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started:
        started.supervisor.script = lambda _: messages.Fault("the supervisor's")
        async with connected(await started.address(), authority) as client:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await get(client)
        assert caught.value.code() == grpc.StatusCode.INTERNAL
        await eventually(lambda: started.event("bug"))
        bug = started.event("bug")
    assert bug
    assert "SupervisorFault" in str(bug["exception"])
    assert str(bug["log_id"]) in (caught.value.details() or "")


async def test_signals_of_a_terminal_do_not_end_it(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started:
        address = await started.address()
        started.process.send_signal(signal.SIGINT)
        started.process.send_signal(signal.SIGTERM)
        async with connected(address, authority) as client:
            assert await get(client) == JOB_ID
        assert await started.end() == 0


async def test_it_ends_while_a_client_watches_its_health(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started, connected(await started.address(), authority) as client:
        watch = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert await started.end() == 0


class TestHandshake:
    """Handshakes with `openssl s_client`. An HTTP/2 server sends its SETTINGS first."""

    @staticmethod
    def _files(issued: trustme.LeafCert, directory: Path) -> list[str]:
        """Return the options of openssl for a client with a certificate."""
        issued.private_key_pem.write_to_path(directory / "key.pem")
        issued.cert_chain_pems[0].write_to_path(directory / "cert.pem")
        return ["-cert", str(directory / "cert.pem"), "-key", str(directory / "key.pem")]

    @pytest.fixture
    def certificate(self, authority: Authority, tmp_path: Path) -> list[str]:
        """The options for a client of the server's authority."""
        return self._files(authority.client("alice", "Admin"), tmp_path)

    @staticmethod
    async def _is_served(started: Started, *options: str) -> bool:
        """Return whether the server sends its SETTINGS (RFC 9113, section 6.5) or closes the connection."""
        client = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", await started.address(), "-alpn", "h2", "-quiet", *options),
            stdin=PIPE,
            stdout=PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert client.stdout
        frame = await asyncio.wait_for(client.stdout.read(9), 20)
        with contextlib.suppress(ProcessLookupError):
            client.kill()
        await client.communicate()
        return frame[3:4] == b"\x04"

    async def test_tls_1_3_with_a_certificate_is_served(
        self, start: Start, config: Config, certificate: list[str]
    ) -> None:
        async with start(config) as started:
            assert await self._is_served(started, "-tls1_3", *certificate)

    @pytest.mark.parametrize("key_type", trustme.KeyType)
    async def test_tls_1_2_fails_in_the_handshake(
        self,
        start: Start,
        config: Config,
        authority: Authority,
        certificate: list[str],
        key_type: trustme.KeyType,
    ) -> None:
        authority.write_server(Path(config.certs_dir), key_type)
        async with start(config) as started:
            assert not await self._handshake(started, "-tls1_2", *certificate)
            assert await self._handshake(started, "-tls1_3", *certificate)

    @staticmethod
    async def _handshake(started: Started, *options: str) -> bool:
        """Return whether openssl completes the handshake and prints the server certificate."""
        client = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", await started.address(), "-alpn", "h2", *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        written, _ = await asyncio.wait_for(client.communicate(), 20)
        return b"BEGIN CERTIFICATE" in written

    async def test_a_client_without_a_certificate_is_not_served(self, start: Start, config: Config) -> None:
        async with start(config) as started:
            assert not await self._is_served(started, "-tls1_3")

    async def test_a_certificate_of_another_authority_is_not_served(
        self, start: Start, config: Config, tmp_path: Path
    ) -> None:
        other = trustme.CA().issue_cert("mallory@example.com", organization_unit_name="Admin")
        async with start(config) as started:
            assert not await self._is_served(started, "-tls1_3", *self._files(other, tmp_path))


async def test_a_supervisor_that_ends_during_the_start(start: Start, config: Config) -> None:
    async with start(config) as started:
        assert await started.end() == 1
    (event,) = started.events
    assert (event["event"], event["level"]) == ("cannot start", "error")
    assert str(event["reason"]).startswith("the supervisor ended before this process served")


async def test_a_shutdown_during_the_start(start: Start, config: Config) -> None:
    async with start(config) as started:
        await started.supervisor.say(messages.Drain())
        assert await started.end() == 0
    assert started.events == []


async def test_a_port_in_use(start: Start, config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        reason = await failure(start, replace(config, listen=f"127.0.0.1:{port}"))
    assert reason == f"cannot listen on 127.0.0.1:{port}: Address already in use"


async def test_an_unknown_exporter(start: Start, config: Config) -> None:
    reason = await failure(start, config, OTEL_METRICS_EXPORTER="carrier-pigeon")
    assert reason == ("OTEL_METRICS_EXPORTER: unknown exporter 'carrier-pigeon'; use otlp, console or none")


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"], ids=["all", "traces"]
)
async def test_an_unsupported_protocol(start: Start, config: Config, variable: str) -> None:
    given = {"OTEL_TRACES_EXPORTER": "otlp", variable: "http/protobuf"}
    reason = await failure(start, config, **given)
    assert reason.startswith(f"{variable}: 'http/protobuf' is not supported; use grpc")


async def test_the_protocol_of_an_unused_exporter_is_ignored(start: Start, config: Config) -> None:
    given = {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json", "OTEL_LOGS_EXPORTER": "otlp"}
    async with start(config, OTEL_TRACES_EXPORTER="console", **given) as started:
        await started.address()
    warning = started.event("telemetry")
    assert warning
    assert str(warning["reason"]).startswith("OTEL_LOGS_EXPORTER: 'otlp' is ignored")


@pytest.mark.parametrize("listening", [True, False], ids=["silent", "down"])
async def test_a_collector_that_does_not_answer_does_not_delay_the_end(
    start: Start,
    config: Config,
    authority: Authority,
    listening: bool,  # noqa: FBT001 - a column
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as collector:
        endpoint = f"http://127.0.0.1:{collector.getsockname()[1]}"
        if not listening:
            collector.close()
        exporters = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"}
        async with start(config, **exporters, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as started:
            async with connected(await started.address(), authority) as client:
                await get(client)
            started.supervisor.close()
            # The timeout of the supervisor, tripled for a busy machine.
            assert await asyncio.wait_for(started.process.wait(), 8) == 0
    assert [event["reason"] for event in started.events if event["event"] == "telemetry"]


async def test_telemetry_on_the_console(start: Start, config: Config, authority: Authority) -> None:
    exporters = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"}
    async with start(config, **exporters, OTEL_RESOURCE_ATTRIBUTES="deployment.name=test") as started:
        async with connected(await started.address(), authority) as client:
            await get(client)
        assert await started.end() == 0
        assert started.process.stdout
        written = (await started.process.stdout.read()).decode()
    assert '"name": "jobworker.v1.JobService/GetJob"' in written
    assert '"name": "rpc.server.call.duration"' in written
    assert '"service.name": "jobworkerd"' in written
    assert '"deployment.name": "test"' in written


async def test_slow_modules_are_not_imported() -> None:
    code = """
import sys
from jobworkerd.rpc_server import environment
environment.prepare()
import jobworkerd.api.main
slow = {"rich", "typer", "pydantic", "opentelemetry.sdk"}
print(*(name for name in slow if sys.modules.get(name)))
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    written, _ = await process.communicate()
    assert process.returncode == 0
    assert written.split() == []
