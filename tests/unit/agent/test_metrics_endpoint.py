"""The Prometheus endpoint of the agent, over real connections."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jobworker_agent.metrics.endpoint import MetricsEndpoint, bind, bound_address

GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Endpoint:
    """A running endpoint, whose body is the number of scrapes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.scrapes = 0

    def render(self) -> str:
        self.scrapes += 1
        return f"scrapes {self.scrapes}\n"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> tuple[str, str]:
        """Return the head and the body of the response."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()
        return head, body


@asynccontextmanager
async def _running(**options: int) -> AsyncIterator[Endpoint]:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    sock = bind("127.0.0.1", 0)
    endpoint = Endpoint(sock.getsockname()[1])
    task = asyncio.ensure_future(MetricsEndpoint(endpoint.render, **options).serve(sock))
    try:
        yield endpoint
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert sock.fileno() == -1
        gc.collect()  # asyncio reports the exception of a task when nothing refers to the task
        assert faults == []


async def test_a_scrape_is_answered_with_the_metrics() -> None:
    async with _running() as endpoint:
        head, body = await endpoint.ask(GET)
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
        assert body == "scrapes 1\n"
        head, body = await endpoint.ask(b"HEAD /metrics?a=b HTTP/1.1\r\n\r\n")
        assert "Content-Length: 10\r\n" in head
        assert body == ""


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404, "/: unknown path; use /metrics\n"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405, "POST: unknown method; use GET\n"),
        (b"\x16\x03\x01\x00\r\n\r\n", 400, "the first line is not that of an HTTP/1.1 request\n"),
        (b"GET /metrics HTTP/2\r\n\r\n", 400, "the first line is not that of an HTTP/1.1 request\n"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 17_000, 400, "the head of the request is too long\n"),
    ],
)
async def test_other_requests_are_refused(request_: bytes, status: int, message: str) -> None:
    async with _running() as endpoint:
        head, body = await endpoint.ask(request_)
        assert (head.split()[1], body) == (str(status), message)
        assert endpoint.scrapes == 0


async def test_a_client_that_goes_away_does_not_end_the_endpoint() -> None:
    async with _running(max_connections=1) as endpoint:
        for part in (b"", GET[:10], GET):
            _, writer = await endpoint.connect()
            writer.write(part)
            writer.transport.abort()
        assert (await endpoint.ask(GET))[0].startswith("HTTP/1.1 200 OK\r\n")


async def test_connections_beyond_the_bound_wait() -> None:
    """Otherwise a job could take all descriptors of the agent, which then could not renew the lease."""
    async with _running(max_connections=1) as endpoint:
        first_reader, first = await endpoint.connect()
        first.write(GET[:10])
        second_reader, second = await endpoint.connect()
        second.write(GET)
        for _ in range(200):  # without the bound, the second one would be answered here
            await asyncio.sleep(0)
        assert endpoint.scrapes == 0
        first.write(GET[10:])
        assert (await first_reader.read()).endswith(b"scrapes 1\n")
        assert (await second_reader.read()).endswith(b"scrapes 2\n")
        for writer in (first, second):
            writer.close()
            await writer.wait_closed()


def test_an_address_in_use_is_named_with_the_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=r"^metrics_listen: cannot listen on") as caught:
            bind("127.0.0.1", port)
    assert str(caught.value) == f"metrics_listen: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_the_address_has_the_port_that_was_selected() -> None:
    with bind("127.0.0.1", 0) as sock:
        assert bound_address(sock) == f"127.0.0.1:{sock.getsockname()[1]}"
    with bind("::1", 0) as sock:
        assert bound_address(sock) == f"[::1]:{sock.getsockname()[1]}"
