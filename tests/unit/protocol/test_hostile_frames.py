"""Frames of an API process with a fault, or under the control of an attacker."""

import asyncio
import socket
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock

import msgspec
import pytest

from jobworkerd.protocol import framing, input_messages, messages
from jobworkerd.protocol.metrics_messages import MAX_METRICS_BYTES, Scraped
from jobworkerd.protocol.server import ApiConnection, ServerParts
from tests.unit.protocol.socket_pair import Metrics, Table


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _list(**fields: int) -> bytes:
    body = {"type": "ListJobs", "page_size": 1, **fields}
    return _frame(msgspec.msgpack.encode({"type": "Request", "seq": 1, "body": body}))


BAD_TEXT = framing.encode(messages.Request(1, messages.GetJob("a"))).replace(b"\xa1a", b"\xa1\xff")
DEEP = _frame(b"\x84\xa4type\xa7Request\xa3seq\x01\xa1x" + b"\x91" * 100_000)


class Hostile:
    """The end of a hostile API process, and what its frames cause in the supervisor."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.faults: list[str] = []
        self.uncaught: list[object] = []

    async def send(self, data: bytes) -> bytes:
        """Send bytes and return the response; empty at the end of the connection."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._sock, data)
        async with asyncio.timeout(10):
            return await loop.sock_recv(self._sock, 1_000)


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the socket module's signature
    hostile, loop = Hostile(ours), asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: hostile.uncaught.append(context))
    connection = ApiConnection(
        Table(),
        Table().inputs,
        ServerParts(lambda _: messages.Certificates(), Metrics(), AsyncMock(), AsyncMock()),
        on_ready=lambda: None,
        on_fault=lambda what, _: hostile.faults.append(what),
    )
    await loop.create_connection(lambda: connection, sock=theirs)
    with ours:
        yield hostile


@pytest.mark.parametrize(
    "data",
    [
        BAD_TEXT,
        _list(page_size=1 << 40),
        _list(created_after_ns=1 << 63),
        _list(created_before_ns=1 << 63),
        DEEP,
        b"\xff" * 4,
        _frame(b"\xc1"),
        framing.encode(messages.Request(1, Scraped(bytes(MAX_METRICS_BYTES + 1)))),
    ],
    ids=["text", "page", "after", "before", "deep", "long", "msgpack", "metrics"],
)
async def test_bytes_that_are_not_a_request_end_the_connection(hostile: Hostile, data: bytes) -> None:
    assert await hostile.send(data) == b""
    assert (hostile.faults, hostile.uncaught) == (["frame"], [])


async def test_a_response_that_cannot_be_encoded_is_a_fault(hostile: Hostile) -> None:
    feed = input_messages.FeedInput(attachment=1, offset=2**64 - 1, data=b"too far")
    response = await hostile.send(framing.encode(messages.Request(7, feed)))
    (reply,) = framing.FrameDecoder(msgspec.msgpack.Decoder(messages.Reply)).feed(response)
    assert reply.seq == 7
    assert isinstance(reply.body, messages.Fault)
    assert (hostile.faults, hostile.uncaught) == (["FeedInput"], [])
