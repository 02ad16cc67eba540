"""The Prometheus endpoint over plain HTTP and over TLS with client certificates."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
import trustme
from api_server import Authority, eventually
from certificates import pair
from cryptography import x509
from host_resources import descriptors, opened_since

from jobworkerd.api.metrics import prometheus
from jobworkerd.certs import revocation_list
from jobworkerd.certs.authority import load_pair
from jobworkerd.errors import SupervisorUnavailable
from jobworkerd.metrics.definitions import QUEUE_LENGTH, READER_ACTIVE
from jobworkerd.metrics.instruments import Snapshot, encode, sample
from jobworkerd.protocol.metrics_messages import Metrics
from jobworkerd.protocol.replies import SupervisorFault
from jobworkerd.rpc_server.identity.principal import Identities
from jobworkerd.rpc_server.identity.session_token import SessionTokens
from jobworkerd.rpc_server.metrics import endpoint as endpoint_module
from jobworkerd.rpc_server.metrics.text_format import OPENMETRICS, TEXT
from jobworkerd.server_pair import ServerPair
from jobworkerd.startup import CannotStart

SUPERVISOR = encode(Snapshot(0, (sample(QUEUE_LENGTH, 3),)))
API = encode(Snapshot(0, (sample(READER_ACTIVE, 2),)))
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n%s\r\n"


async def collect() -> Metrics:
    return Metrics(SUPERVISOR, (API, None, b"damaged"))


@contextlib.asynccontextmanager
async def serving(
    get: prometheus.Collect = collect,
    identities: Identities | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> AsyncIterator[int]:
    """Serve an endpoint and yield its port."""
    sock = prometheus.bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    task = asyncio.create_task(
        prometheus.endpoint(get, identities or Identities(SessionTokens(AsyncMock())), tls).serve(sock)
    )
    try:
        yield port
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def response(
    port: int, request: bytes = GET % b"", tls: ssl.SSLContext | None = None
) -> tuple[str, str]:
    """Return the head and the body of a response."""
    name = "localhost" if tls else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    try:
        writer.write(request)
        async with asyncio.timeout(60):
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return head, body


async def test_a_scrape() -> None:
    async with serving() as port:
        head, body = await response(port)
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert f"Content-Type: {TEXT}" in head
    lines = body.splitlines()
    assert "jobworker_queue_length 3" in lines
    assert 'jobworker_reader_active{api_process="0"} 2' in lines
    assert [line for line in lines if line.startswith("jobworker_api_process_up{")] == [
        'jobworker_api_process_up{api_process="0"} 1',
        'jobworker_api_process_up{api_process="1"} 0',
        'jobworker_api_process_up{api_process="2"} 0',
    ]


async def test_openmetrics_for_those_who_ask() -> None:
    async with serving() as port:
        head, body = await response(port, GET % b"Accept: application/openmetrics-text; version=1.0.0\r\n")
    assert f"Content-Type: {OPENMETRICS}" in head
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"nonsense\r\n\r\n", "400 Bad Request"),
    ],
)
async def test_other_requests(request_bytes: bytes, status: str) -> None:
    async with serving() as port:
        head, body = await response(port, request_bytes)
    assert head.startswith(f"HTTP/1.1 {status}\r\n")
    assert body.endswith("\n")


async def test_a_head_request_has_no_body() -> None:
    async with serving() as port:
        head, body = await response(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert (head.startswith("HTTP/1.1 200"), body) == (True, "")


@pytest.mark.parametrize("error", [SupervisorUnavailable(), SupervisorFault("a fault")])
async def test_a_supervisor_that_does_not_answer(error: Exception) -> None:
    async def fail() -> Metrics:
        raise error

    async with serving(fail) as port:
        head, body = await response(port)
    assert head.startswith("HTTP/1.1 503 Service Unavailable\r\n")
    assert body == f"{error}\n"


async def test_a_client_that_says_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "_REQUEST_SECONDS", 0.01)
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_connections_beyond_the_maximum_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "_REQUEST_SECONDS", 60.0)
    async with serving() as port:
        with contextlib.ExitStack() as silent:
            for _ in range(40):
                silent.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            waiting = asyncio.create_task(response(port))
            await eventually(lambda: len(_answering()) == endpoint_module._MAX_CONNECTIONS, 20)
            assert not waiting.done()
        head, _ = await waiting
        assert head.startswith("HTTP/1.1 200 OK")


def _answering() -> list["asyncio.Task[object]"]:
    """Return the tasks of the accepted connections."""
    return [each for each in asyncio.all_tasks() if "MetricsEndpoint._answer" in repr(each.get_coro())]


async def test_nothing_remains_at_the_end() -> None:
    before = descriptors()
    async with serving() as port:
        with socket.create_connection(("127.0.0.1", port), 20):
            await response(port)
    await eventually(lambda: not opened_since(before))


def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"metrics.listen: cannot listen on 127.0.0.1:{port}: Address"):
            prometheus.bind("127.0.0.1", port)


class Tls:
    """An endpoint with certificates, and its clients."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority()
        self.authority.write_server(directory)
        self.directory = directory
        self.identities = Identities(SessionTokens(AsyncMock()))
        self.identities.trust(self.authority.ca.cert_pem.bytes())

    def server(self) -> ssl.SSLContext:
        files = ((self.directory / name).read_bytes() for name in ("server.pem", "server-key.pem"))
        return ServerPair(*files).tls_context((self.directory / "ca.pem").read_bytes())

    def client(self, certificate: trustme.LeafCert | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.ca.cert_pem.bytes().decode())
        if certificate:
            certificate.configure_cert(context)
        return context

    async def status(self, certificate: trustme.LeafCert | None) -> str:
        async with serving(collect, self.identities, self.server) as port:
            head, body = await response(port, tls=self.client(certificate))
        return f"{head.partition(chr(13))[0]}: {body}"


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


@pytest.mark.parametrize("role", ["Admin", "Viewer"])
async def test_a_client_with_a_role_is_served(tls: Tls, role: str) -> None:
    assert "HTTP/1.1 200 OK" in await tls.status(tls.authority.client("alice", role))


@pytest.mark.parametrize("role", [None, "Delegate", "Other"])
async def test_a_client_without_a_role_is_refused(tls: Tls, role: str | None) -> None:
    assert "403 Forbidden" in await tls.status(tls.authority.client("alice", role))


async def is_answered(tls: Tls, client: ssl.SSLContext | None) -> bool:
    """Return whether a client gets a response. With TLS 1.3, a refused client can fail at its first read."""
    async with serving(collect, tls.identities, tls.server) as port:
        with contextlib.suppress(OSError):
            return "HTTP/1.1" in (await response(port, tls=client))[0]
    return False


async def test_only_clients_of_the_authority_get_an_answer(tls: Tls) -> None:
    assert await is_answered(tls, tls.client(tls.authority.client("alice", "Admin")))
    assert not await is_answered(tls, tls.client(None))
    assert not await is_answered(tls, tls.client(Authority().client("alice", "Admin")))
    assert not await is_answered(tls, None), "plain HTTP"


async def test_a_revoked_client_is_refused(tls: Tls) -> None:
    certificate = tls.authority.client("alice", "Admin")
    found = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
    issuer = pair(tls.authority.ca)
    crl = revocation_list.add(load_pair(issuer.certificate, issuer.key), b"", found.serial_number)
    tls.identities.trust(issuer.certificate, crl)
    status = await tls.status(certificate)
    assert "403 Forbidden" in status
    assert "revoked" in status
