"""Packets of a supervisor with a fault. An exception would end the keeper, and with it all jobs."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_resources import descriptors, opened_since

from jobworkerd.keeper import wire
from jobworkerd.keeper.children import Children
from jobworkerd.keeper.connection import Connection
from jobworkerd.keeper.table import Table
from tests.unit.keeper.keeper_process import running

Pair = tuple[socket.socket, Connection]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The socket of a supervisor, and the keeper's end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection = Connection(theirs, 1, Table(), Children(), lambda *_: None)
    with ours:
        yield ours, connection
    connection.close()


@pytest.mark.parametrize("packet", [b"[" * 60_000, b"5", b"[]", b"{}", b"\xff", b"nothing"])
def test_packets_that_are_not_messages_are_ignored(pair: Pair, packet: bytes) -> None:
    supervisor, connection = pair
    before = descriptors()
    socket.send_fds(supervisor, [packet], [supervisor.fileno()])
    wire.send(supervisor, ["release", 7, "nothing"])
    assert connection.receive()
    assert wire.receive(supervisor) == (["done", 7, 0, 0], [])
    assert not opened_since(before)


@pytest.mark.parametrize(
    "message",
    [
        ["hold", 1, "job", ["x"]],
        ["hold", 1, "job", [5]],  # without a descriptor
        ["hold", 1, 5, []],
        ["spawn", 1, [5]],
        ["spawn", 1, []],
        ["spawn", 1, ["{9}"]],
        ["spawn", 1, ["a\0"]],
        ["reap", 1, 2**70],
        ["keep", 1, [[]]],
        ["discard", 1, 2**70, True],
        ["release", 1],
    ],
)
def test_requests_with_impossible_arguments_are_refused(pair: Pair, message: list[object]) -> None:
    supervisor, connection = pair
    wire.send(supervisor, message)
    assert connection.receive()
    assert wire.receive(supervisor) == (["done", 1, errno.EINVAL, 0], [])


@pytest.mark.parametrize("message", [("news",), ("ready",), ("prepared", wire.VERSION + 1)])
async def test_descriptors_of_notices_that_have_none_are_closed(
    tmp_path: Path, message: tuple[object, ...]
) -> None:
    with running(tmp_path) as keeper:
        supervisor = await keeper.serving()
        before = keeper.descriptor_count()
        supervisor.client._send(message, [0])
        await supervisor.barrier()
        assert keeper.descriptor_count() == before
