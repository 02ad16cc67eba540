"""The API process as the supervisor starts it: its port, its handshakes, its log and its end."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from msgspec.structs import replace

from jobworker.v1 import job_service_pb2
from jobworkerd.config import Config, to_json
from jobworkerd.protocol import messages
from tests.unit.api.conftest import JOB_ID, Authority, Client, Supervisor, eventually

Event = dict[str, object]


@dataclass
class Started:
    """A process, what it said on stderr so far, and the supervisor at its socket."""

    process: Process
    supervisor: Supervisor
    lines: list[str] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        """What it logged; every line of stderr has to be JSON."""
        return [json.loads(line) for line in self.lines]

    def event(self, name: str) -> Event | None:
        """Returns the first event of a name."""
        return next((event for event in self.events if event["event"] == name), None)

    async def address(self) -> str:
        """Returns where it listens, once it is ready."""
        await asyncio.wait_for(self.supervisor.ready.wait(), 20)
        event = self.event("listening")
        assert event
        return str(event["address"])

    async def end(self) -> int:
        """Closes the socket and returns the exit code."""
        self.supervisor.close()
        return await asyncio.wait_for(self.process.wait(), 20)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Started]]


@pytest.fixture
def start() -> Start:
    """Starts an API process as the supervisor does."""

    @contextlib.asynccontextmanager
    async def start_process(
        config: Config, program: Sequence[str] = ("-m", "jobworkerd.api"), **environment: str
    ) -> AsyncIterator[Started]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the socket module's signature
        memory = os.memfd_create("config")
        os.write(memory, to_json(config))
        jobs = os.open(config.state_dir, os.O_PATH)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *program),
                *("--config-fd", str(memory), "--socket-fd", str(theirs.fileno()), "--jobs-fd", str(jobs)),
                pass_fds=(memory, theirs.fileno(), jobs),
                stdout=PIPE,
                stderr=PIPE,
                env={**os.environ, **environment},
            )
        os.close(memory)
        os.close(jobs)
        started = Started(process, Supervisor(ours, Path(config.certs_dir)))
        tasks = asyncio.gather(started.supervisor.run(), _read(process, started.lines))
        try:
            yield started
        finally:
            await started.end()
            await tasks
            ours.close()

    return start_process


async def _read(process: Process, lines: list[str]) -> None:
    assert process.stderr
    while line := await process.stderr.readline():
        lines.append(line.decode())


@contextlib.asynccontextmanager
async def _client(address: str, authority: Authority) -> AsyncIterator[Client]:
    certificate = authority.client("alice", "Admin")
    credentials = grpc.ssl_channel_credentials(
        authority.ca.cert_pem.bytes(),
        certificate.private_key_pem.bytes(),
        certificate.cert_chain_pems[0].bytes(),
    )
    async with grpc.aio.secure_channel(address, credentials) as channel:
        yield Client(channel)


async def _get(client: Client, *, patiently: bool = False) -> str:
    """Returns a job's id; patience means to connect again if it does not come to a connection."""
    request = job_service_pb2.GetJobRequest(id=JOB_ID)
    return (await client.stub.GetJob(request, timeout=20, wait_for_ready=patiently)).job.id


async def test_its_life(start: Start, config: Config, authority: Authority) -> None:
    async with start(config) as started:
        address = await started.address()
        assert address.startswith("127.0.0.1:")
        assert not address.endswith(":0")
        async with _client(address, authority) as client:
            assert await _get(client) == JOB_ID
        assert await started.end() == 0
    assert [event["event"] for event in started.events] == ["listening", "authorization", "rpc"]
    for event in started.events:
        assert {"timestamp", "level", "event"} <= set(event)
        assert event["process"] == "api"
        assert str(event["timestamp"]).endswith("Z")
    rpc = started.event("rpc")
    assert rpc
    assert (rpc["status"], rpc["role"], rpc["job_id"]) == ("OK", "Admin", JOB_ID)


async def test_a_bugs_traceback_is_in_one_line_of_the_log(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started:
        started.supervisor.script = lambda _: messages.Fault("the supervisor's")
        async with _client(await started.address(), authority) as client:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _get(client)
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
        async with _client(address, authority) as client:
            assert await _get(client) == JOB_ID
        assert await started.end() == 0


async def test_it_ends_though_a_client_watches_its_health(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started, _client(await started.address(), authority) as client:
        watch = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert await started.end() == 0


class TestHandshake:
    """With openssl's own client. A server of HTTP/2 speaks first: it sends its SETTINGS."""

    @staticmethod
    def _files(issued: trustme.LeafCert, directory: Path) -> list[str]:
        """Returns openssl's options for a client with a certificate."""
        issued.private_key_pem.write_to_path(directory / "key.pem")
        issued.cert_chain_pems[0].write_to_path(directory / "cert.pem")
        return ["-cert", str(directory / "cert.pem"), "-key", str(directory / "key.pem")]

    @pytest.fixture
    def certificate(self, authority: Authority, tmp_path: Path) -> list[str]:
        """The options for a client whom the server knows."""
        return self._files(authority.client("alice", "Admin"), tmp_path)

    @staticmethod
    async def _is_served(started: Started, *options: str) -> bool:
        """Returns whether the server sends its SETTINGS (RFC 9113, section 6.5) or closes instead."""
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

    async def test_tls_1_2_is_not(self, start: Start, config: Config, certificate: list[str]) -> None:
        async with start(config) as started:
            assert not await self._is_served(started, "-tls1_2", *certificate)

    async def test_a_client_without_a_certificate_is_not(self, start: Start, config: Config) -> None:
        async with start(config) as started:
            assert not await self._is_served(started, "-tls1_3")

    async def test_another_authoritys_certificate_is_not(
        self, start: Start, config: Config, tmp_path: Path
    ) -> None:
        other = trustme.CA().issue_cert("mallory@example.com", organization_unit_name="Admin")
        async with start(config) as started:
            assert not await self._is_served(started, "-tls1_3", *self._files(other, tmp_path))


async def _failure(start: Start, config: Config, **environment: str) -> str:
    """Returns why the process cannot start, which it says in one sentence and with exit code 1."""
    async with start(config, **environment) as started:
        assert await asyncio.wait_for(started.process.wait(), 20) == 1
    (event,) = started.events
    assert (event["event"], event["level"]) == ("cannot start", "error")
    return str(event["reason"])


async def test_a_port_that_is_taken(start: Start, config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        reason = await _failure(start, replace(config, listen=f"127.0.0.1:{port}"))
    assert reason == f"cannot listen on 127.0.0.1:{port}: Address already in use"


async def test_certificates_that_are_not_there(start: Start, config: Config, tmp_path: Path) -> None:
    reason = await _failure(start, replace(config, certs_dir=str(tmp_path / "nowhere")))
    assert "nowhere/ca.pem: No such file or directory" in reason
    assert "jobworkerd certs init" in reason


async def test_certificates_that_do_not_fit_together(
    start: Start, config: Config, authority: Authority
) -> None:
    other = authority.ca.issue_cert("localhost", key_type=trustme.KeyType.RSA)
    other.private_key_pem.write_to_path(Path(config.certs_dir) / "server-key.pem")
    assert "do not fit together" in await _failure(start, config)


def _damage(config: Config, name: str) -> None:
    Path(config.certs_dir, name).write_text("nonsense")


async def test_a_damaged_authority(start: Start, config: Config) -> None:
    _damage(config, "ca.pem")
    assert "damaged" in await _failure(start, config)


async def test_an_exporter_that_there_is_not(start: Start, config: Config) -> None:
    reason = await _failure(start, config, OTEL_METRICS_EXPORTER="carrier-pigeon")
    assert reason == ("OTEL_METRICS_EXPORTER: unknown exporter 'carrier-pigeon'; use otlp, console or none")


async def test_telemetry_on_the_console(start: Start, config: Config, authority: Authority) -> None:
    exporters = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"}
    async with start(config, **exporters, OTEL_RESOURCE_ATTRIBUTES="deployment.name=test") as started:
        async with _client(await started.address(), authority) as client:
            await _get(client)
        assert await started.end() == 0
        assert started.process.stdout
        written = (await started.process.stdout.read()).decode()
    assert '"name": "jobworker.v1.JobService/GetJob"' in written
    assert '"name": "rpc.server.call.duration"' in written
    assert '"service.name": "jobworkerd"' in written
    assert '"deployment.name": "test"' in written


async def test_renewed_certificates_need_no_restart(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started:
        address = await started.address()
        async with _client(address, authority) as old_client:
            assert await _get(old_client) == JOB_ID
            renewed = Authority()
            renewed.write_server(Path(config.certs_dir))
            async with _client(address, renewed) as new_client:
                assert await _get(new_client, patiently=True) == JOB_ID
            assert await _get(old_client) == JOB_ID
        assert started.event("certificates renewed")


async def test_damaged_renewals_leave_the_old_certificates_in_use(
    start: Start, config: Config, authority: Authority
) -> None:
    async with start(config) as started:
        address = await started.address()
        _damage(config, "server.pem")
        async with asyncio.timeout(20):
            while (warning := started.event("certificates not renewed")) is None:
                async with _client(address, authority) as client:
                    assert await _get(client) == JOB_ID
    assert warning["level"] == "warning"


_LOADS_NOTHING_ANY_MORE = """
import sys
from jobworkerd.api import environment
environment.prepare()
from jobworkerd.api import main, privileges

class Closed:
    def find_spec(self, name, path, target=None):
        raise ModuleNotFoundError(f"{name} is loaded late", name=name)

privileges.give_up = lambda *given: sys.meta_path.insert(0, Closed())
sys.exit(main.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("exporter", ["none", "console", "otlp"])
async def test_all_modules_are_loaded_before_it_becomes_a_user_who_may_not_be_able_to_read_them(
    start: Start, config: Config, authority: Authority, exporter: str
) -> None:
    exporters = {"OTEL_TRACES_EXPORTER": exporter, "OTEL_METRICS_EXPORTER": exporter}
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    async with start(config, ("-c", _LOADS_NOTHING_ANY_MORE), **exporters, **endpoint) as started:
        async with _client(await started.address(), authority) as client:
            assert await _get(client) == JOB_ID
            started.supervisor.script = lambda _: messages.Fault("the supervisor's")
            with pytest.raises(grpc.aio.AioRpcError):
                await _get(client)
        assert await started.end() == 0
    assert not [line for line in started.lines if "is loaded late" in line]


async def test_what_takes_long_to_import_is_not_imported() -> None:
    code = """
import sys
from jobworkerd.api import environment
environment.prepare()
import jobworkerd.api.main
slow = {"rich", "typer", "pydantic", "opentelemetry.sdk"}
print(*(name for name in slow if sys.modules.get(name)))
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    written, _ = await process.communicate()
    assert process.returncode == 0
    assert written.split() == []
