"""A supervisor with a fault: it must not end the keeper, which would end all jobs."""

import json
import os
import socket
from collections.abc import Mapping, Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from jobworkerd.keeper import wire
from jobworkerd.keeper.children import Children
from jobworkerd.keeper.connection import Connection
from jobworkerd.keeper.table import Table
from tests.fuzz.campaign import campaign
from tests.fuzz.mutations import JSON, mutated

NAMES = st.sampled_from(
    [
        "hold",
        "release",
        "spawn",
        "reap",
        "discard",
        "keep",
        "discard others",
        "prepared",
        "ready",
        "stopping",
        "x",
    ]
)
REQUESTS = st.builds(lambda name, rest: [name, *rest], NAMES, st.lists(JSON, max_size=5))
ENCODED = (JSON | REQUESTS).map(lambda value: json.dumps(value).encode())
PACKETS = st.binary(max_size=100) | ENCODED | ENCODED.flatmap(mutated)


class Harmless(Children):
    """Children that are not started."""

    def spawn(
        self, argv: Sequence[str], descriptors: Sequence[int], variables: Mapping[str, str] = {}
    ) -> int:
        """Format the arguments like the original."""
        assert not variables
        return len([each.format(*descriptors) for each in argv])


@campaign
@given(packets=st.lists(st.tuples(PACKETS, st.integers(0, 3)), max_size=6))
@example(packets=[(b"[" * 60_000, 0)])
@example(packets=[(b"5", 0)])
def test_a_hostile_supervisor(packets: list[tuple[bytes, int]]) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number counts
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    table = Table()
    connection = Connection(theirs, 1, table, Harmless(), _notice)
    with ours:
        for packet, count in packets:
            if packet:
                socket.send_fds(ours, [packet], [ours.fileno()] * count)
                assert connection.receive()
        connection.send_table()
        assert wire.receive(ours)
    connection.close()
    for key in [key for key, _ in table]:
        table.release(key)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


def _notice(_connection: Connection, _message: list[object], descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
