"""The keeper as a program, with real processes: its supervisors, signals, reloads and its own replacement."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest

from jobworkerd.keeper import wire
from tests.unit.keeper.keeper_process import FakeSupervisor, KeeperProcess, eventually, running

SLEEP = ["/bin/sleep", "1000"]
SHUTDOWN = signal.SIGTERM


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[KeeperProcess]:
    with running(tmp_path) as process:
        yield process


async def hold(supervisor: FakeSupervisor, key: str, count: int = 1) -> None:
    """Let the keeper hold an entry with some descriptors."""
    with socket.socket() as sock:
        await supervisor.client.hold(key, key.encode(), [sock.fileno()] * count, [])


async def spawn(supervisor: FakeSupervisor, argv: Sequence[str], *descriptors: int) -> int:
    return await supervisor.client.spawn(argv, descriptors)


async def reaped(supervisor: FakeSupervisor, pid: int) -> int:
    """Return the exit code of a child when it has ended."""
    while True:
        try:
            return os.waitstatus_to_exitcode(await supervisor.client.reap(pid))
        except BlockingIOError:
            await asyncio.sleep(0.005)


async def test_a_stopped_keeper_does_not_block_the_supervisor(keeper: KeeperProcess) -> None:
    supervisor = await keeper.serving()
    keeper.process.send_signal(signal.SIGSTOP)
    spawned = supervisor.client.spawn(SLEEP, [])
    await asyncio.sleep(0)
    assert not spawned.done()
    keeper.process.send_signal(signal.SIGCONT)
    assert await spawned in keeper.children()


async def test_the_next_supervisor_continues_after_a_kill(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    await hold(first, "job")
    first.kill()
    second = await keeper.supervisor()
    held = await second.serve()
    assert {key: entry.state() for key, entry in held.items()} == {"job": b"job"}
    await eventually(lambda: bool(second.notes))
    assert second.notes == [("supervisor restarted", "ended by signal 9")]
    assert first.pid not in keeper.children()


async def test_children_inherit_only_their_own_descriptors(keeper: KeeperProcess) -> None:
    supervisor = await keeper.serving()
    await hold(supervisor, "job", 3)
    read_end, write_end = os.pipe()
    code = "import os, sys; os.write(int(sys.argv[1]), b'%d' % len(os.listdir('/proc/self/fd')))"
    pid = await spawn(supervisor, [sys.executable, "-S", "-c", code, "{0}"], write_end)
    os.close(write_end)
    # The standard streams, the pipe, and the directory itself.
    assert await asyncio.to_thread(os.read, read_end, 10) == b"5"
    assert await reaped(supervisor, pid) == 0
    os.close(read_end)


@pytest.mark.parametrize("code", [0, 1, 3])
async def test_a_supervisor_that_cannot_start_the_first_time_ends_the_server(
    keeper: KeeperProcess, code: int
) -> None:
    (await keeper.supervisor()).exit(code)
    assert await keeper.exit_code() == code


async def test_a_supervisor_that_is_killed_during_the_first_start_ends_the_server(
    keeper: KeeperProcess,
) -> None:
    (await keeper.supervisor()).kill()
    assert await keeper.exit_code() == 1


@pytest.mark.parametrize("code", [0, 1])
async def test_the_server_ends_with_a_supervisor_that_stops_it(keeper: KeeperProcess, code: int) -> None:
    supervisor = await keeper.serving()
    supervisor.client.stopping()
    supervisor.exit(code)
    assert await keeper.exit_code() == code


async def test_a_supervisor_that_dies_while_it_stops_the_server_is_replaced(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    keeper.process.send_signal(SHUTDOWN)
    await eventually(lambda: first.signals == [SHUTDOWN])
    first.client.stopping()
    await first.barrier()
    first.kill()
    second = await keeper.supervisor()
    await second.serve()
    await eventually(lambda: second.signals == [SHUTDOWN])
    second.client.stopping()
    second.exit(0)
    assert await keeper.exit_code() == 0


async def test_a_supervisor_can_die_at_any_moment(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    before = keeper.descriptor_count()
    first.kill()
    for _ in range(3):
        (await keeper.supervisor()).kill()  # before it is prepared
    for _ in range(2):
        supervisor = await keeper.supervisor()
        await supervisor.take_over()
        await hold(supervisor, "job")
        supervisor.kill()  # before it is ready
    last = await keeper.supervisor()
    assert list(await last.serve()) == ["job"]
    last.client.release("job")
    await last.barrier()
    assert keeper.descriptor_count() == before
    assert keeper.children() == {last.pid}


async def test_a_request_of_a_supervisor_that_died_is_executed(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    keeper.process.send_signal(signal.SIGSTOP)
    with socket.socket() as sock:
        held = first.client.hold("job", b"", [sock.fileno()], [])
    first.kill()
    keeper.process.send_signal(signal.SIGCONT)
    await held
    assert list(await (await keeper.supervisor()).serve()) == ["job"]


async def test_a_signal_waits_for_a_supervisor(keeper: KeeperProcess) -> None:
    supervisor = await keeper.supervisor()
    keeper.process.send_signal(SHUTDOWN)
    await supervisor.serve()
    await eventually(lambda: supervisor.signals == [SHUTDOWN])


async def test_a_shutdown_ends_a_server_whose_supervisor_does_not_start_any_more(
    keeper: KeeperProcess,
) -> None:
    (await keeper.serving()).kill()
    for _ in range(4):
        (await keeper.supervisor()).exit(1)
    await eventually(lambda: not keeper.children())
    keeper.process.send_signal(SHUTDOWN)
    (await keeper.supervisor()).exit(1)
    assert await keeper.exit_code() == 1


async def test_other_signals_are_passed_on(keeper: KeeperProcess) -> None:
    supervisor = await keeper.serving()
    keeper.process.send_signal(signal.SIGUSR1)
    await eventually(lambda: supervisor.signals == [signal.SIGUSR1])


async def test_a_reload_hands_the_table_over(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    await hold(first, "job")
    keeper.reload()
    second = await keeper.supervisor()
    assert psutil.Process(second.pid).cmdline()[3:] == ["jobworkerd", "serve", "--flag={x}"]
    assert not first.told_to_leave.is_set()
    taking = asyncio.create_task(second.serve(b"new settings"))
    await asyncio.wait_for(first.told_to_leave.wait(), 20)
    assert not taking.done()
    first.exit(0)
    assert list(await taking) == ["job"]
    second.kill()
    third = await keeper.supervisor()
    assert third.settings == b"new settings"


async def test_a_reload_that_fails_changes_nothing(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    before = keeper.descriptor_count()
    for _ in range(2):
        keeper.reload()
        (await keeper.supervisor()).exit(1)
        await eventually(lambda: bool(first.notes))
        event, reason = first.notes.pop()
        assert event == "reload failed"
        assert "reload again" in reason
    assert not first.told_to_leave.is_set()
    assert keeper.descriptor_count() == before
    assert keeper.children() == {first.pid}


async def test_settings_that_do_not_work_are_not_kept(keeper: KeeperProcess) -> None:
    """A setting can turn out to be wrong after the hand-over, for example a port that is taken."""
    first = await keeper.serving()
    keeper.reload()
    second = await keeper.supervisor()
    taking = asyncio.create_task(second.take_over(b"wrong settings"))
    await first.told_to_leave.wait()
    first.exit(0)
    await taking
    second.exit(1)
    third = await keeper.supervisor()
    assert third.settings == b"settings"


async def test_a_successor_that_never_prepares_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, prepare_seconds=1) as keeper:
        first = await keeper.serving()
        keeper.reload()
        await keeper.supervisor()
        await eventually(lambda: bool(first.notes))
        assert first.notes[0][0] == "reload failed"
        assert keeper.children() == {first.pid}


async def test_a_supervisor_that_dies_during_a_reload_is_replaced_by_the_new_one(
    keeper: KeeperProcess,
) -> None:
    first = await keeper.serving()
    await hold(first, "job")
    keeper.reload()
    second = await keeper.supervisor()
    first.kill()
    assert list(await second.serve()) == ["job"]


async def test_both_supervisors_can_die_during_a_reload(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    await hold(first, "job")
    keeper.reload()
    second = await keeper.supervisor()
    first.kill()
    second.kill()
    assert list(await (await keeper.supervisor()).serve()) == ["job"]


async def test_a_shutdown_during_a_reload_ends_the_server_in_order(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    keeper.reload()
    second = await keeper.supervisor()
    keeper.process.send_signal(signal.SIGSTOP)
    wire.send(second.client._sock, ["prepared", wire.VERSION], [])
    keeper.process.send_signal(SHUTDOWN)
    first.client.stopping()
    first.exit(0)
    keeper.process.send_signal(signal.SIGCONT)
    assert await keeper.exit_code() == 0


async def test_a_reload_during_a_reload_follows_it(keeper: KeeperProcess) -> None:
    """The successor can have read its settings before the administrator corrected them."""
    first = await keeper.serving()
    keeper.reload()
    second = await keeper.supervisor()
    keeper.reload()
    await first.barrier()
    keeper.reload()
    await first.barrier()
    assert keeper.children() == {first.pid, second.pid}
    second.exit(1)
    third = await keeper.supervisor()
    taking = asyncio.create_task(third.serve())
    await first.told_to_leave.wait()
    first.exit(0)
    await taking
    assert keeper.children() == {third.pid}


async def test_a_supervisor_of_another_version_changes_nothing(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    await hold(first, "job")
    keeper.reload()
    second = await keeper.supervisor()
    wire.send(second.client._sock, ["prepared", wire.VERSION + 1], [])
    answer = await asyncio.to_thread(wire.receive, second.client._sock)
    assert answer == (["table", wire.VERSION], [])
    second.exit(1)
    await eventually(lambda: bool(first.notes))
    assert not first.told_to_leave.is_set()


def change_program(keeper: KeeperProcess, code: str) -> None:
    """Append code to the program of a keeper, as an upgrade does."""
    with (keeper.program / "keeper" / "program.py").open("a") as file:
        file.write(code)


async def test_a_changed_keeper_replaces_itself_and_keeps_everything(keeper: KeeperProcess) -> None:
    first = await keeper.serving()
    pipe = os.pipe()
    child = await spawn(first, SLEEP)
    ended = await spawn(first, ["/bin/false"])
    assert await reaped_later(first, ended, pipe[0], child) == 1
    before = keeper.descriptor_count()
    change_program(keeper, "\n_SHUTDOWN = _SHUTDOWN | {signal.SIGUSR2}\n")
    keeper.reload()
    second = await keeper.supervisor()
    taking = asyncio.create_task(second.serve())
    await first.told_to_leave.wait()
    first.exit(0)
    ((key, entry),) = (await taking).items()
    os.write(pipe[1], b"kept")
    assert (key, os.read(entry.descriptors[1], 10)) == ("job", b"kept")
    assert entry.statuses == {ended: 1 << 8}
    assert keeper.children() == {child, second.pid}
    second.client.discard(child)
    await eventually(lambda: keeper.children() == {second.pid})
    assert keeper.descriptor_count() == before
    keeper.process.send_signal(signal.SIGUSR2)  # now a signal that a later supervisor gets, too
    await eventually(lambda: signal.SIGUSR2 in second.signals)
    second.kill()
    third = await keeper.supervisor()
    assert list(await third.serve()) == ["job"]
    await eventually(lambda: signal.SIGUSR2 in third.signals)
    for each in (*pipe, *entry.descriptors):
        os.close(each)


async def reaped_later(supervisor: FakeSupervisor, pid: int, descriptor: int, child: int) -> int:
    """Hold an entry with two processes, and reap one of them."""
    await supervisor.client.hold("job", b"state", [descriptor], [pid, child])
    return await reaped(supervisor, pid)


@pytest.mark.parametrize("code", ["\nsyntax error\n", "\nimport missing_module\n"])
async def test_a_keeper_whose_new_version_cannot_start_stays(keeper: KeeperProcess, code: str) -> None:
    first = await keeper.serving()
    await hold(first, "job")
    change_program(keeper, code)
    keeper.reload()
    second = await keeper.supervisor()
    taking = asyncio.create_task(second.serve())
    await first.told_to_leave.wait()
    first.exit(0)
    assert list(await taking) == ["job"]
    assert keeper.process.poll() is None
    assert second.pid in keeper.children()


async def test_an_exhausted_keeper_refuses_and_continues(tmp_path: Path) -> None:
    with running(tmp_path, open_files=(40, 40)) as keeper:
        supervisor = await keeper.serving()
        results = await asyncio.gather(
            *(hold(supervisor, str(number), 2) for number in range(40)), return_exceptions=True
        )
        assert isinstance(results[-1], OSError)
        assert results[-1].errno == errno.EMFILE
        before = keeper.descriptor_count()
        with pytest.raises(OSError, match="Too many open files"):
            await hold(supervisor, "another", 4)
        assert keeper.descriptor_count() == before
        for number in range(3):
            supervisor.client.release(str(number))
        supervisor.kill()
        held = await (await keeper.supervisor()).serve()
        assert len(held) == results.count(None) - 3


async def test_an_exhausted_keeper_starts_the_next_supervisor_when_it_can(tmp_path: Path) -> None:
    with running(tmp_path, open_files=(40, 40)) as keeper:
        supervisor = await keeper.serving()
        while True:
            try:
                await hold(supervisor, str(keeper.descriptor_count()), 0)
            except OSError:
                break
        supervisor.kill()
        # The socket of the dead supervisor is free again, so that the next one can start.
        held = await (await keeper.supervisor()).serve()
        assert held


async def test_the_keeper_can_hold_as_many_descriptors_as_the_hard_limit_allows(tmp_path: Path) -> None:
    with running(tmp_path, open_files=(64, 256)) as keeper:
        supervisor = await keeper.serving()
        for number in range(50):
            await hold(supervisor, str(number), 2)
        assert keeper.descriptor_count() > 150


async def test_the_service_manager_is_notified(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        with running(tmp_path, {"NOTIFY_SOCKET": str(tmp_path / "notify")}) as keeper:
            first = await keeper.serving()
            assert manager.recv(1_000) == b"READY=1"
            keeper.reload()
            (await keeper.supervisor()).exit(1)
            assert manager.recv(1_000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert (await asyncio.to_thread(manager.recv, 1_000)) == b"READY=1"
            first.client.stopping()
            assert (await asyncio.to_thread(manager.recv, 1_000)) == b"STOPPING=1"


async def test_the_service_manager_sees_that_the_keeper_works(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        with running(tmp_path, environment) as keeper:
            await keeper.serving()
            reports = [await asyncio.to_thread(manager.recv, 1_000) for _ in range(4)]
            assert reports.count(b"WATCHDOG=1") >= 3


async def test_a_watchdog_of_another_process_is_left_to_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(0.5)
        watchdog = {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
        with running(tmp_path, {"NOTIFY_SOCKET": str(tmp_path / "notify"), **watchdog}) as keeper:
            await keeper.serving()
            assert manager.recv(1_000) == b"READY=1"
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(manager.recv, 1_000)


async def test_a_missing_service_manager_does_not_end_the_keeper(tmp_path: Path) -> None:
    with running(tmp_path, {"NOTIFY_SOCKET": str(tmp_path / "missing")}) as keeper:
        first = await keeper.serving()
        await first.barrier()
        assert keeper.process.poll() is None


async def test_the_keeper_is_small(keeper: KeeperProcess) -> None:
    supervisor = await keeper.serving()
    for number in range(50):
        await hold(supervisor, str(number))
    assert psutil.Process(keeper.process.pid).memory_info().rss < 12 << 20
