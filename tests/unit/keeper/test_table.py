"""A supervisor holds descriptors and processes in the keeper, and the next one gets them back."""

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from children import is_reaped
from host_resources import descriptors, opened_since

from jobworkerd.keeper import wire
from jobworkerd.keeper.children import Children, now
from jobworkerd.keeper.client import Handlers, HeldEntry, IncompatibleKeeper, KeeperClient
from jobworkerd.keeper.connection import Connection
from jobworkerd.keeper.table import Table

FDS = Path("/proc/self/fd")


class Keeper:
    """The keeper's parts in this process, which is the parent of the children."""

    def __init__(self) -> None:
        self.table = Table()
        self.children = Children()
        self.notices: list[list[object]] = []
        self.connection: Connection | None = None

    def connect(self) -> socket.socket:
        """Return the supervisor's end of a new connection, and serve the other end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection = Connection(ours, os.getpid(), self.table, self.children, self._on_notice)
        asyncio.get_running_loop().add_reader(ours, self._serve, self.connection)
        return theirs

    def disconnect(self, connection: Connection) -> None:
        """Close the keeper's end, as its death does."""
        asyncio.get_running_loop().remove_reader(connection.sock)
        connection.close()

    def _serve(self, connection: Connection) -> None:
        connection.flush()
        self.children.reap_discarded()
        if not connection.receive():
            self.disconnect(connection)

    def _on_notice(self, sender: Connection, message: list[object], descriptors: list[int]) -> None:
        self.notices.append(message)
        for descriptor in descriptors:
            os.close(descriptor)
        if message[0] == "prepared":
            sender.send_table()


def _highest_descriptor() -> int:
    return max(int(each.name) for each in FDS.iterdir())


def _sleep(group: int | None = None) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "60"], process_group=group)


@pytest.fixture
def keeper() -> Keeper:
    """A keeper without a supervisor."""
    return Keeper()


async def _take_over(keeper: Keeper) -> tuple[KeeperClient, dict[str, HeldEntry]]:
    client = KeeperClient(keeper.connect())
    settings = os.memfd_create("settings")
    try:
        held = await asyncio.to_thread(client.take_over, settings)
    finally:
        os.close(settings)
    client.attach(asyncio.get_running_loop())
    return client, held


@pytest.fixture
async def client(keeper: Keeper) -> AsyncIterator[KeeperClient]:
    """The first supervisor, which found an empty table."""
    client, held = await _take_over(keeper)
    assert held == {}
    yield client
    client.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that is closed at the end."""
    ends = os.pipe2(os.O_CLOEXEC)
    yield ends
    for end in ends:
        os.close(end)


async def test_the_next_supervisor_gets_states_and_descriptors(
    keeper: Keeper, client: KeeperClient, pipe: tuple[int, int]
) -> None:
    await client.hold("job", b"first state", [pipe[0]], [7])
    await client.hold("job", b"second state", None, [7, 8])
    os.write(pipe[1], b"output")
    client.close()
    successor, held = await _take_over(keeper)
    assert held["job"].state() == b"second state"
    assert held["job"].pids == [7, 8]
    (state, read_end) = held["job"].descriptors
    assert os.read(read_end, 100) == b"output"
    os.close(state)
    os.close(read_end)
    successor.close()


async def test_a_released_entry_is_closed(
    keeper: Keeper, client: KeeperClient, pipe: tuple[int, int]
) -> None:
    before = descriptors()
    await client.hold("job", b"state", [pipe[0], pipe[1]], [])
    assert opened_since(before).total() == 3
    await client.hold("job", b"new state", None, [])
    assert opened_since(before).total() == 3
    client.release("job")
    await client.hold("other", b"", None, [])
    client.release("other")
    client.release("missing")
    await client.hold("last", b"", None, [])
    assert [key for key, _ in keeper.table] == ["last"]
    assert opened_since(before).total() == 1


async def test_a_state_of_any_size_is_held(keeper: Keeper, client: KeeperClient) -> None:
    state = os.urandom(1 << 20)
    await client.hold("job", state, None, [])
    client.close()
    successor, held = await _take_over(keeper)
    assert held["job"].state() == state
    successor.close()


async def test_more_messages_than_the_socket_takes_are_sent_later(
    keeper: Keeper, client: KeeperClient
) -> None:
    replies = [client.hold(str(number), b"", None, []) for number in range(2_000)]
    await asyncio.gather(*replies)
    assert len(list(keeper.table)) == 2_000
    for number in range(2_000):
        client.release(str(number))


async def test_a_child_is_spawned_with_descriptors_and_reaped(
    client: KeeperClient, keeper: Keeper, pipe: tuple[int, int]
) -> None:
    script = "import os, sys; os.write(int(sys.argv[1]), b'here'); sys.exit(7)"
    loop = asyncio.get_running_loop()
    argv = [sys.executable, "-c", script, "{0}"]
    pid = await loop.run_in_executor(None, _spawn_in_process, keeper, argv, [pipe[1]])
    pidfd = os.pidfd_open(pid)
    await client.hold("job", b"", None, [pid])
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    await ended.wait()
    loop.remove_reader(pidfd)
    os.close(pidfd)
    assert os.read(pipe[0], 10) == b"here"
    assert os.waitstatus_to_exitcode(await client.reap(pid)) == 7
    # A supervisor that died after the reap asks again.
    client.close()
    successor, held = await _take_over(keeper)
    assert held["job"].statuses == {pid: 7 << 8}
    assert os.waitstatus_to_exitcode(await successor.reap(pid)) == 7
    successor.release("job")
    with pytest.raises(ChildProcessError):
        await successor.reap(pid)
    successor.close()


def _spawn_in_process(keeper: Keeper, argv: list[str], descriptors: list[int]) -> int:
    return keeper.children.spawn(argv, descriptors)


async def test_a_running_child_is_not_reaped(client: KeeperClient) -> None:
    child = _sleep()
    with pytest.raises(OSError, match=str(errno.EAGAIN)):
        await client.reap(child.pid)
    child.kill()
    child.wait()


async def test_discarded_processes_and_their_group_are_killed_and_reaped(
    keeper: Keeper, client: KeeperClient
) -> None:
    leader = _sleep(group=0)
    member = _sleep(group=leader.pid)
    client.discard(leader.pid)
    async with asyncio.timeout(10):
        while not is_reaped(leader.pid) or not is_reaped(member.pid):
            await asyncio.sleep(0.01)
            keeper.children.reap_discarded()
    assert keeper.children.discarded == set()
    client.discard(leader.pid)  # reaped already
    await client.hold("job", b"", None, [])
    leader.returncode = member.returncode = 0


def _other_children() -> list["psutil.Process"]:
    return psutil.Process().children()


async def test_a_keeper_without_descriptors_refuses_and_keeps_the_old_entry(
    keeper: Keeper, client: KeeperClient, pipe: tuple[int, int]
) -> None:
    await client.hold("job", b"old", [pipe[0]], [1])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reply = client.hold("job", b"new", [pipe[0], pipe[1]], [1, 2])
    resource.setrlimit(resource.RLIMIT_NOFILE, (_highest_descriptor(), hard))
    try:
        with pytest.raises(OSError, match=str(errno.EMFILE)):
            await reply
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    client.close()
    successor, held = await _take_over(keeper)
    assert (held["job"].state(), held["job"].pids) == (b"old", [1])
    successor.close()


async def test_any_number_of_children_is_kept(keeper: Keeper) -> None:
    kept, unknown = _sleep(), _sleep()
    others = [each.pid for each in _other_children() if each.pid != unknown.pid]
    client, _ = await _take_over(keeper)
    client.discard_others([*range(2**22 + 1, 2**22 + 20_000), *others])
    await client.hold("job", b"", None, [])
    async with asyncio.timeout(10):
        while keeper.children.discarded or unknown.poll() is None:
            await asyncio.sleep(0.01)
            keeper.children.reap_discarded()
    assert kept.poll() is None
    client.close()
    kept.kill()
    kept.wait()


async def test_a_supervisor_keeps_the_children_that_it_started_at_its_takeover(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of start times is coarse: its own child can seem to have started before the takeover."""
    monkeypatch.setattr("jobworkerd.keeper.connection.now", lambda: now() + 1_000)
    unknown = _sleep()
    client, _ = await _take_over(keeper)
    own = await client._request("spawn", ["/bin/sleep", "1000"])
    client.discard_others([each.pid for each in _other_children() if each.pid not in {unknown.pid, own}])
    await client.hold("job", b"", None, [])
    async with asyncio.timeout(10):
        while keeper.children.discarded or unknown.poll() is None:
            await asyncio.sleep(0.01)
            keeper.children.reap_discarded()
    assert not is_reaped(own)
    client.close()
    keeper.children.discard(own, group=True)
    async with asyncio.timeout(10):
        while keeper.children.discarded:
            await asyncio.sleep(0.01)
            keeper.children.reap_discarded()


async def test_a_packet_that_cannot_be_decoded_changes_nothing(client: KeeperClient, keeper: Keeper) -> None:
    client._sock.send(b'["hold", 1, ')
    await client.hold("job", b"", None, [])
    assert [key for key, _ in keeper.table] == ["job"]


async def test_the_death_of_the_keeper_fails_requests_and_is_reported(
    keeper: Keeper, client: KeeperClient
) -> None:
    lost = asyncio.Event()
    client.watch(Handlers(lambda _: None, lambda: None, lambda *_: None, lost.set))
    assert keeper.connection
    keeper.disconnect(keeper.connection)
    async with asyncio.timeout(10):
        await lost.wait()
    with pytest.raises(BrokenPipeError):
        await client.hold("job", b"", None, [])


async def test_messages_wait_for_their_handlers(keeper: Keeper, client: KeeperClient) -> None:
    assert keeper.connection
    keeper.connection.send("signal", 15)
    keeper.connection.send("hand over")
    keeper.connection.send("note", "event", "reason")
    await client.hold("job", b"", None, [])
    seen: list[object] = []
    handlers = Handlers(
        seen.append, lambda: seen.append("hand over"), lambda *note: seen.append(note), lambda: None
    )
    client.watch(handlers)
    assert seen == [15, "hand over", ("event", "reason")]


async def test_an_unknown_request_fails(client: KeeperClient) -> None:
    with pytest.raises(OSError, match=str(errno.EINVAL)):
        await client._request("reap", "no number")


async def test_another_version_of_the_keeper_is_refused(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = KeeperClient(keeper.connect())
    settings = os.memfd_create("settings")
    taking = asyncio.to_thread(client.take_over, settings)
    monkeypatch.setattr(wire, "VERSION", 2)
    task = asyncio.create_task(taking)
    await asyncio.sleep(0)
    monkeypatch.setattr("jobworkerd.keeper.client.wire", _OtherVersion)
    with pytest.raises(IncompatibleKeeper, match="stop the server and start it again"):
        await task
    client.close()
    os.close(settings)


class _OtherVersion:
    """The wire module of another version."""

    VERSION = 99
    receive = staticmethod(wire.receive)
    send = staticmethod(wire.send)
