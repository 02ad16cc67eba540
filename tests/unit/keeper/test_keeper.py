"""The keeper with real processes and sockets: its table, its children and its supervisors."""

import asyncio
import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from jobworkerd.keeper import wire
from jobworkerd.keeper.client import KeeperClient, UnknownVersion
from tests.unit.keeper.keeper_process import KeeperProcess, eventually, raw_request, running

SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[KeeperProcess]:
    with running(tmp_path) as process:
        yield process


def exiting(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


async def status(client: KeeperClient, pid: int) -> int:
    """Return the wait status of a child when it has ended."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await client.status(pid)
            except BlockingIOError:
                await asyncio.sleep(0.005)


async def test_the_next_supervisor_finds_the_table_of_one_that_was_killed(keeper: KeeperProcess) -> None:
    first = await keeper.supervisor()
    client = await first.started()
    read_end, write_end = os.pipe()
    await client.hold("a", [read_end])
    await client.hold("b", [read_end, write_end])
    client.ready()
    os.write(write_end, b"unread")
    os.close(read_end)
    os.close(write_end)
    first.kill()
    second = await (await keeper.supervisor()).started()
    entries = dict(await second.entries())
    assert list(entries) == ["a", "b"]
    assert [len(each) for each in entries.values()] == [1, 2]
    assert os.read(entries["a"][0], 100) == b"unread"
    second.release("a")
    assert [entry.key for entry in await second.entries()] == ["b"]


async def test_release_and_hold_close_descriptors(keeper: KeeperProcess) -> None:
    client = await (await keeper.supervisor()).started()
    await client.entries()
    before = keeper.descriptor_count()
    with socket.socket() as sock:
        for key in ("a", "a", "b"):
            await client.hold(key, [sock.fileno()] * 3)
    assert keeper.descriptor_count() == before + 6
    client.release("a")
    client.release("b")
    client.release("unknown")
    assert await client.entries() == []
    assert keeper.descriptor_count() == before


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise SystemExit(7)", 7 << 8),
        ("import os; os.kill(os.getpid(), 9)", 9),
        ("import os; os.kill(os.getpid(), 15)", 15),
    ],
)
async def test_the_status_of_a_child_stays_until_it_is_discarded(
    keeper: KeeperProcess, code: str, expected: int
) -> None:
    first = await keeper.supervisor()
    client = await first.started()
    client.ready()
    pid = await client.spawn(exiting(code), [])
    assert await status(client, pid) == expected
    first.kill()
    second = await (await keeper.supervisor()).started()
    assert await second.status(pid) == expected
    await second.discard(pid)
    with pytest.raises(ChildProcessError):
        await second.status(pid)


async def test_a_child_gets_its_descriptors_and_no_others(keeper: KeeperProcess) -> None:
    client = await (await keeper.supervisor()).started()
    read_end, write_end = os.pipe()
    code = "import os; os.write(4, ' '.join(sorted(os.listdir('/proc/self/fd'))).encode())"
    await client.spawn(exiting(code), [read_end, write_end])
    os.close(write_end)
    # The last number is the directory itself.
    assert await asyncio.to_thread(os.read, read_end, 100) == b"0 1 2 3 4 5"
    os.close(read_end)


async def test_spawn_reports_the_error(keeper: KeeperProcess) -> None:
    client = await (await keeper.supervisor()).started()
    with pytest.raises(FileNotFoundError):
        await client.spawn(["/nonexistent"], [])


async def test_discard_kills_and_reaps_a_group(keeper: KeeperProcess) -> None:
    client = await (await keeper.supervisor()).started()
    others = keeper.children()
    pid = await client.spawn(SLEEP, [])
    await client.discard(pid, group=True)
    assert keeper.children() == others


async def test_discard_does_not_block_the_keeper_and_answers_after_the_end(keeper: KeeperProcess) -> None:
    client = await (await keeper.supervisor()).started()
    marker_read, marker_write = os.pipe()
    code = "import os, signal; os.write(3, b'x'); signal.pause()"
    pid = await client.spawn(exiting(code), [marker_write])
    await asyncio.to_thread(os.read, marker_read, 1)
    psutil.Process(pid).suspend()  # SIGKILL ends a stopped process, too
    done = client.discard(pid)
    assert await client.entries() == []
    await done
    assert not psutil.pid_exists(pid)
    for each in (marker_read, marker_write):
        os.close(each)


async def test_discard_leaves_processes_of_others_alone(keeper: KeeperProcess) -> None:
    client = await (await keeper.supervisor()).started()
    stranger = await asyncio.create_subprocess_exec("sleep", "1000", process_group=0)
    await client.discard(stranger.pid)
    await client.discard(stranger.pid, group=True)
    assert stranger.returncode is None
    assert psutil.Process(stranger.pid).status() != psutil.STATUS_ZOMBIE
    stranger.kill()
    await stranger.wait()


async def test_an_exhausted_keeper_answers_with_an_error(tmp_path: Path) -> None:
    soft = 40
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, soft))
    with running(tmp_path, preexec_fn=limit) as keeper:
        client = await (await keeper.supervisor()).started()
        with socket.socket() as sock:
            holds = [client.hold(str(number), [sock.fileno()] * 2) for number in range(soft)]
            results = await asyncio.gather(*holds, return_exceptions=True)
            assert isinstance(results[-1], OSError)
            assert results[-1].errno == errno.EMFILE
            held = len(await client.entries())
            assert 0 < held < soft / 2
            before = keeper.descriptor_count()
            with pytest.raises(OSError, match="Too many open files"):
                await client.hold("another", [sock.fileno()] * 2)
            assert keeper.descriptor_count() == before
            client.release("0")
            await client.hold("another", [sock.fileno()] * 2)


async def test_a_malformed_request_is_refused(keeper: KeeperProcess) -> None:
    supervisor = await keeper.supervisor()
    for words in (["unknown"], ["hold"], ["status", "x"], ["entry"], ["discard"], ["spawn"]):
        answer = await asyncio.to_thread(raw_request, supervisor, "7", *words)
        assert answer == ["7", str(errno.EINVAL)], words


async def test_a_client_refuses_an_unknown_version() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client = KeeperClient(ours, lambda: None, lambda: None)
    wire.send(theirs, [wire.NOTICE, "hello", wire.VERSION + 1])
    with pytest.raises(UnknownVersion, match="restart the service"):
        await client.connect()
    client.close()
    theirs.close()


async def test_a_supervisor_that_cannot_start_the_first_time_ends_the_keeper(keeper: KeeperProcess) -> None:
    (await keeper.supervisor()).exit(3)
    assert await keeper.exit_code() == 3


async def test_the_server_ends_with_a_supervisor_that_says_so(keeper: KeeperProcess) -> None:
    supervisor = await keeper.supervisor()
    client = await supervisor.started()
    client.ready()
    client.end()
    await client.entries()
    supervisor.exit(1)
    assert await keeper.exit_code() == 1


async def test_a_supervisor_can_die_at_any_moment(keeper: KeeperProcess) -> None:
    supervisor = await keeper.supervisor()
    client = await supervisor.started()
    client.ready()
    await client.entries()
    before = keeper.descriptor_count()
    supervisor.kill()
    for _ in range(3):
        (await keeper.supervisor()).kill()  # before it reads anything
    supervisor = await keeper.supervisor()
    with socket.socket() as sock:
        await supervisor.client().hold("a", [sock.fileno()])
    supervisor.kill()
    client = await (await keeper.supervisor()).started()
    assert [entry.key for entry in await client.entries()] == ["a"]
    client.release("a")
    client.ready()
    assert await client.entries() == []
    assert keeper.descriptor_count() == before
    assert keeper.events() == ["supervisor ended"] * 5


async def test_a_request_of_a_supervisor_that_died_is_executed(keeper: KeeperProcess) -> None:
    supervisor = await keeper.supervisor()
    client = await supervisor.started()
    client.ready()
    await client.entries()
    os.kill(keeper.process.pid, signal.SIGSTOP)
    with socket.socket() as sock:
        held = client.hold("a", [sock.fileno()])
    supervisor.kill()
    os.kill(keeper.process.pid, signal.SIGCONT)
    await held
    client = await (await keeper.supervisor()).started()
    assert [entry.key for entry in await client.entries()] == ["a"]


async def test_signals_reach_the_supervisor_when_it_listens(keeper: KeeperProcess) -> None:
    supervisor = await keeper.supervisor()
    client = await supervisor.started()
    keeper.process.send_signal(signal.SIGTERM)
    await client.entries()
    assert psutil.pid_exists(supervisor.pid)
    client.listening()
    assert await keeper.exit_code() == 1  # the fake supervisor dies of the signal before it was ready


async def test_a_reload_hands_the_table_over(keeper: KeeperProcess) -> None:
    first = await keeper.supervisor()
    client = await first.started()
    client.ready()
    with socket.socket() as sock:
        await client.hold("a", [sock.fileno()])
    keeper.process.send_signal(signal.SIGHUP)
    second = await keeper.supervisor()
    connection = second.client()
    await connection.connect()
    assert not first.left.is_set()
    taking = asyncio.create_task(connection.take_over(b"new", ""))
    await asyncio.wait_for(first.left.wait(), 20)
    assert not taking.done()
    first.exit(0)
    await taking
    assert [entry.key for entry in await connection.entries()] == ["a"]


async def test_a_reload_that_cannot_prepare_changes_nothing(keeper: KeeperProcess) -> None:
    first = await keeper.supervisor()
    client = await first.started()
    client.ready()
    await client.entries()
    keeper.process.send_signal(signal.SIGHUP)
    (await keeper.supervisor()).exit(1)
    await eventually(lambda: "reload failed" in keeper.events())
    assert await client.entries() == []
    assert not first.left.is_set()


async def test_a_supervisor_that_does_not_leave_is_replaced_when_it_dies(keeper: KeeperProcess) -> None:
    first = await keeper.supervisor()
    client = await first.started()
    client.ready()
    await client.entries()
    keeper.process.send_signal(signal.SIGHUP)
    second = await keeper.supervisor()
    first.kill()
    client = await second.started()
    assert await client.entries() == []


async def test_a_changed_keeper_replaces_itself_and_keeps_everything(keeper: KeeperProcess) -> None:
    first = await keeper.supervisor()
    client = await first.started()
    client.ready()
    read_end, write_end = os.pipe()
    await client.hold("a", [read_end])
    child = await client.spawn(SLEEP, [])
    keeper.process.send_signal(signal.SIGHUP)
    second = await keeper.supervisor()
    connection = second.client()
    await connection.connect()
    taking = asyncio.create_task(connection.take_over(b"new", "another signature"))
    await asyncio.wait_for(first.left.wait(), 20)
    first.exit(0)
    await taking
    assert "keeper replaced" in keeper.events()
    ((key, (held,)),) = await connection.entries()
    os.write(write_end, b"kept")
    assert (key, os.read(held, 10)) == ("a", b"kept")
    assert child in keeper.children()
    await connection.discard(child)
    assert keeper.children() == [second.pid]
    connection.ready()
    await connection.entries()
    second.kill()
    third = await (await keeper.supervisor()).started()
    assert [entry.key for entry in await third.entries()] == ["a"]


async def test_the_keeper_is_small(keeper: KeeperProcess) -> None:
    client = await (await keeper.supervisor()).started()
    await client.entries()
    memory = psutil.Process(keeper.process.pid).memory_info()
    assert memory.rss - memory.shared < 12 << 20
