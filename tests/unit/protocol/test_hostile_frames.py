"""Frames of an API process with a fault, or under the control of an attacker."""

import asyncio
import socket

import msgspec
import pytest

from jobworkerd.protocol import framing, messages
from jobworkerd.protocol.server import ApiConnection
from tests.unit.protocol.socket_pair import Table


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _list(**fields: int) -> bytes:
    body = {"type": "ListJobs", "page_size": 1, **fields}
    return _frame(msgspec.msgpack.encode({"type": "Request", "seq": 1, "body": body}))


BAD_TEXT = framing.encode(messages.Request(1, messages.GetJob("a"))).replace(b"\xa1a", b"\xa1\xff")
DEEP = _frame(b"\x84\xa4type\xa7Request\xa3seq\x01\xa1x" + b"\x91" * 100_000)


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
    ],
    ids=["text", "page", "after", "before", "deep", "long", "msgpack"],
)
async def test_bytes_that_are_not_a_request_end_the_connection(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the socket module's signature
    faults, uncaught = list[str](), list[object]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: uncaught.append(context))
    connection = ApiConnection(
        Table(),
        Table().inputs,
        lambda _: messages.Certificates(),
        on_ready=lambda: None,
        on_fault=lambda what, _: faults.append(what),
    )
    await loop.create_connection(lambda: connection, sock=theirs)
    with ours:
        await loop.sock_sendall(ours, data)
        async with asyncio.timeout(10):
            assert await loop.sock_recv(ours, 1) == b""
    assert (faults, uncaught) == (["frame"], [])
