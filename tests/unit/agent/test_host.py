"""Calls to a server over TLS, with the certificate of the agent."""
# ruff: noqa: ARG002, N802 - the methods of the server have the names and the parameters of the API

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme

from jobworker.v1 import job_pb2, job_service_pb2, node_service_pb2
from jobworker.v1.job_service_pb2_grpc import JobServiceServicer, add_JobServiceServicer_to_server
from jobworker.v1.node_service_pb2_grpc import NodeServiceServicer, add_NodeServiceServicer_to_server
from jobworker_agent.host import GrpcHost
from jobworker_agent.host_address import HostAddress
from jobworker_agent.host_connections import HostConnections
from jobworker_agent.host_errors import HostUnavailable, RunRefused
from jobworker_cluster.trace_headers import TraceHeaders
from tests.unit.agent.fakes import ID, OWNER, TRACE

PARENT = {"traceparent": TRACE.traceparent}


@dataclass
class Server(NodeServiceServicer, JobServiceServicer):
    """A server that remembers the clients and the subjects of its calls."""

    subjects: list[bytes] = field(default_factory=list)
    clients: list[bytes] = field(default_factory=list)
    leases: list[tuple[int, int]] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    failure: grpc.StatusCode | None = None

    async def GetHost(
        self, request: node_service_pb2.GetHostRequest, context: Any
    ) -> node_service_pb2.GetHostResponse:
        self.clients.append(context.auth_context()["x509_common_name"][0])
        if self.failure:
            await context.abort(self.failure, "why")
        return node_service_pb2.GetHostResponse(max_jobs=7)

    async def RunJob(
        self, request: node_service_pb2.RunJobRequest, context: Any
    ) -> node_service_pb2.RunJobResponse:
        metadata = context.invocation_metadata() or ()
        self.traces.append({key: value for key, value in metadata if key.startswith("trace")})
        return node_service_pb2.RunJobResponse(job=job_pb2.Job(id=request.id))

    async def RenewLease(
        self, request: node_service_pb2.RenewLeaseRequest, context: Any
    ) -> node_service_pb2.RenewLeaseResponse:
        self.leases.append((request.duration.ToMilliseconds(), request.not_after.ToMilliseconds()))
        return node_service_pb2.RenewLeaseResponse()

    async def StopJob(
        self, request: job_service_pb2.StopJobRequest, context: Any
    ) -> job_service_pb2.StopJobResponse:
        self.subjects.append(dict(context.invocation_metadata() or ())["jobworker-subject-bin"])
        return job_service_pb2.StopJobResponse(job=job_pb2.Job(id=request.id))

    async def WaitJob(
        self, request: job_service_pb2.WaitJobRequest, context: Any
    ) -> job_service_pb2.WaitJobResponse:
        self.waiting.set()
        await self.ended.wait()
        return job_service_pb2.WaitJobResponse(job=job_pb2.Job(id=request.id))


@dataclass
class Certificates:
    """An authority, and the files of the agent."""

    directory: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    def issue(self, name: str) -> None:
        """Write a certificate with this common name."""
        certificate = self.authority.issue_cert(common_name=name)
        self.write("agent.pem", certificate.cert_chain_pems[0].bytes())
        self.write("agent-key.pem", certificate.private_key_pem.bytes())
        self.write("ca.pem", self.authority.cert_pem.bytes())

    def write(self, name: str, content: bytes) -> None:
        """Replace a file."""
        (self.directory / "new").write_bytes(content)
        (self.directory / "new").rename(self.directory / name)

    def address(self, port: int) -> HostAddress:
        """Return the address of a server on this host."""
        names = ("ca.pem", "agent.pem", "agent-key.pem")
        return HostAddress(f"127.0.0.1:{port}", "", *(self.directory / name for name in names))


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    certificates = Certificates(tmp_path)
    certificates.issue("agent-1")
    return certificates


@pytest.fixture
def server() -> Server:
    return Server()  # type: ignore[abstract]  # the other methods answer UNIMPLEMENTED


@pytest.fixture
async def host(server: Server, certificates: Certificates) -> AsyncIterator[GrpcHost]:
    own = certificates.authority.issue_cert("127.0.0.1")
    pair = own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
    credentials = grpc.ssl_server_credentials([pair], certificates.authority.cert_pem.bytes(), True)  # noqa: FBT003
    grpc_server = grpc.aio.server()
    add_NodeServiceServicer_to_server(server, grpc_server)
    add_JobServiceServicer_to_server(server, grpc_server)
    port = grpc_server.add_secure_port("127.0.0.1:0", credentials)
    await grpc_server.start()
    host = GrpcHost(certificates.address(port))
    try:
        yield host
    finally:
        await host.close()
        await grpc_server.stop(None)


async def test_a_call_for_a_client_names_its_subject(host: GrpcHost, server: Server) -> None:
    job = await host.stop(ID, "CN=Zoë,OU=Admin", None)
    assert job.id == ID
    assert server.subjects == ["CN=Zoë,OU=Admin".encode()]


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        (TRACE, {**PARENT, "tracestate": "a=1"}),
        (TraceHeaders(TRACE.traceparent), PARENT),
        (TraceHeaders(TRACE.traceparent, "a=1,\tb=2"), {**PARENT, "tracestate": "a=1, b=2"}),
        (TraceHeaders(TRACE.traceparent, "a=ä"), PARENT),
        (TraceHeaders(TRACE.traceparent, "a" * 513), PARENT),
        (TraceHeaders("00-1\n", "a=1"), {}),
        (TraceHeaders("1" * 100_000), {}),
        (TraceHeaders(), {}),
    ],
)
async def test_a_start_continues_the_trace_of_the_job_unless_its_annotations_are_unusable(
    host: GrpcHost, server: Server, headers: TraceHeaders, sent: dict[str, str]
) -> None:
    request = node_service_pb2.RunJobRequest(id=ID)
    assert (await host.run(request, headers)).id == ID
    assert server.traces == [sent]


async def test_a_lease_is_renewed_with_fractions_of_a_second(host: GrpcHost, server: Server) -> None:
    await host.renew_lease(11.25, 70.5)
    assert server.leases == [(11_250, 70_500)]


@pytest.mark.parametrize(
    ("code", "kind"),
    [(grpc.StatusCode.UNAVAILABLE, HostUnavailable), (grpc.StatusCode.INVALID_ARGUMENT, RunRefused)],
)
async def test_an_error_of_the_server_has_a_kind(
    host: GrpcHost, server: Server, code: grpc.StatusCode, kind: type[Exception]
) -> None:
    server.failure = code
    with pytest.raises(kind, match="why"):
        await host.describe()


async def test_a_new_certificate_is_used_after_the_old_one_was_refused(
    host: GrpcHost, server: Server, certificates: Certificates
) -> None:
    server.failure = grpc.StatusCode.UNAUTHENTICATED
    certificates.issue("agent-2")
    with pytest.raises(HostUnavailable):
        await host.describe()
    server.failure = None
    assert (await host.describe()).max_jobs == 7
    assert server.clients == [b"agent-1", b"agent-2"]


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED])
async def test_a_new_certificate_is_used_after_the_old_one_was_revoked(
    host: GrpcHost, server: Server, certificates: Certificates, code: grpc.StatusCode
) -> None:
    """The server refuses a call of an open connection with PERMISSION_DENIED, and others in the handshake."""
    await host.describe()
    server.failure = code
    certificates.issue("agent-2")
    with pytest.raises(HostUnavailable):
        await host.describe()
    server.failure = None
    await host.describe()
    assert server.clients == [b"agent-1", b"agent-1", b"agent-2"]


async def test_a_renewed_certificate_is_used_and_calls_in_progress_go_on(
    host: GrpcHost, server: Server, certificates: Certificates
) -> None:
    waiting = asyncio.ensure_future(host.wait(ID, OWNER))
    await server.waiting.wait()
    assert not await host.connections.refresh()
    certificates.issue("agent-2")
    assert await host.connections.refresh()
    await host.describe()
    assert server.clients == [b"agent-2"]
    assert not await host.connections.refresh()
    server.ended.set()
    assert (await waiting).id == ID


async def test_files_that_cannot_be_used_do_not_replace_the_certificate(
    host: GrpcHost, server: Server, certificates: Certificates
) -> None:
    other = certificates.authority.issue_cert(common_name="agent-2")
    certificates.write("agent-key.pem", other.private_key_pem.bytes())
    # The next file may be replaced right now.
    assert not await host.connections.refresh()
    with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
        await host.connections.refresh()
    assert not await host.connections.refresh()
    await host.describe()
    assert server.clients == [b"agent-1"]
    certificates.write("agent.pem", other.cert_chain_pems[0].bytes())
    assert await host.connections.refresh()
    await host.describe()
    assert server.clients == [b"agent-1", b"agent-2"]


async def test_a_missing_file_is_reported_once(host: GrpcHost, certificates: Certificates) -> None:
    (certificates.directory / "agent.pem").unlink()
    assert not await host.connections.refresh()
    with pytest.raises(FileNotFoundError):
        await host.connections.refresh()
    assert not await host.connections.refresh()


async def test_a_former_connection_is_closed_after_its_calls_had_time(
    server: Server, certificates: Certificates, host: GrpcHost
) -> None:
    del server
    now = 0.0
    connections = HostConnections(host.connections._address, lambda: now)
    former = connections.current
    certificates.issue("agent-2")
    await connections.refresh()
    now = 79.0
    await connections.refresh()
    request = node_service_pb2.GetHostRequest()
    assert (await former.node.GetHost(request)).max_jobs == 7
    now = 80.0
    await connections.refresh()
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await former.node.GetHost(request)
    await connections.close()


async def test_the_calls_of_the_old_connection_can_be_repeated(
    host: GrpcHost, server: Server, certificates: Certificates
) -> None:
    """A cancelled call would end the task that made it."""
    waiting = asyncio.ensure_future(host.wait(ID, OWNER))
    await server.waiting.wait()
    server.failure = grpc.StatusCode.UNAUTHENTICATED
    certificates.issue("agent-2")
    with pytest.raises(HostUnavailable):
        await host.describe()
    with pytest.raises(HostUnavailable, match="the connection was closed"):
        await waiting


async def test_a_call_that_is_cancelled_is_cancelled(host: GrpcHost, server: Server) -> None:
    waiting = asyncio.ensure_future(host.wait(ID, OWNER))
    await server.waiting.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_server_that_is_away_is_unavailable(certificates: Certificates) -> None:
    host = GrpcHost(certificates.address(1))
    with pytest.raises(HostUnavailable) as caught:
        await host.describe()
    assert caught.value.reason == "UNAVAILABLE"
    await host.close()
