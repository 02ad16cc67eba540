"""The processes that are forked ahead, and what becomes of them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

from jobworkerd.model import JobSpec, Limits, LimitsPolicy
from jobworkerd.spawn import children as child_processes
from jobworkerd.spawn import fork_client, process
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.spare import REPORT_BYTES, Spare, discard
from jobworkerd.spawn.spare_pool import Spares
from jobworkerd.spawn.spare_process import Setup
from jobworkerd.spawn.users import User

LIMITS = Limits(max_cpu=100, max_memory=64, max_io_bps=0, max_pids=0)
WITHIN_SECONDS = 30
SETUP = Setup(
    (256, 256),
    0,
    Isolation(namespaces=(), no_new_privileges=False, nice=0),
)
SERVER = User("root", "/root", None)


@pytest.fixture
def spares() -> Iterator[Spares]:
    each = Spares(SETUP)
    yield each
    each.close()


def spec(command: str, *args: str) -> JobSpec:
    return JobSpec(
        command=command,
        args=args,
        limits=LIMITS,
        limits_policy=LimitsPolicy.BEST_EFFORT,
        stop_signal=signal.SIGTERM,
        stop_grace_period=1.0,
        owner="test",
        working_directory="/",
    )


@dataclass
class Done:
    """What a spare process and the command that it became left."""

    pid: int | None
    exit_code: int | None
    output: bytes
    report: bytes


async def run(spares: Spares, wanted: JobSpec, cgroup: int | None = None) -> Done:
    """Runs a command that ends by itself."""
    return finish(await spares.take(), wanted, cgroup)


def finish(spare: Spare, wanted: JobSpec, cgroup: int | None) -> Done:
    process.give_order(spare, wanted, SERVER, "")
    process.let_go(spare, cgroup)
    spare.orders.settimeout(None)
    report = process.read_report(spare.orders)
    pid = process.started_pid(report)
    if pid:
        report = process.read_report(spare.orders)
    child_processes.reap(spare.pid)
    exit_code = exit_code_of(pid) if pid else None
    os.set_blocking(spare.stdout, True)
    output = b"".join(iter(lambda: os.read(spare.stdout, 1 << 20), b""))
    spare.orders.close()
    os.close(spare.stdout)
    os.close(spare.stderr)
    return Done(pid, exit_code, output, report)


def exit_code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{holds} did not come to hold"
        time.sleep(0.01)


async def test_the_command_runs_and_its_end_is_the_supervisors_to_see(spares: Spares) -> None:
    done = await run(spares, spec("sh", "-c", "echo $$ $PPID; exit 3"))
    assert (done.exit_code, done.report) == (3, b"")
    assert done.output == f"{done.pid} {os.getpid()}\n".encode()


async def test_the_command_is_a_session_of_its_own_without_the_spare_process(spares: Spares) -> None:
    done = await run(spares, spec("sh", "-c", "ps -o pid= -g $$ | wc -l; ps -o sid= -p $$"))
    assert done.output.split() == [b"3", str(done.pid).encode()]  # sh, ps and wc


async def test_signals_are_as_they_are_for_any_program(spares: Spares) -> None:
    done = await run(spares, spec("sh", "-c", "cat /proc/self/status; kill -TERM $$"))
    assert done.exit_code == -signal.SIGTERM
    status = dict(line.split(b":\t", 1) for line in done.output.splitlines())
    # But for 32 and 33, which the C library keeps to itself (signal(7)): those are as they are here.
    own = 0b11 << 31
    assert {int(status[name], 16) & ~own for name in (b"SigBlk", b"SigIgn", b"SigCgt")} == {0}


async def test_more_jobs_than_were_forked_ahead(spares: Spares) -> None:
    spares.refill()
    taken = [await spares.take() for _ in range(5)]
    assert len({spare.pid for spare in taken}) == 5
    for spare in taken:
        discard(spare)


async def test_a_spare_process_that_was_killed_is_replaced(spares: Spares) -> None:
    spares.refill()
    victim = await spares.take()
    spares.refill()
    second = await spares.take()
    os.kill(second.pid, signal.SIGKILL)
    until(lambda: child_processes.has_ended(second.pid))
    for spare in (victim, second):
        discard(spare)
    assert (await run(spares, spec("echo", "x"))).output == b"x\n"


async def test_a_fork_server_that_was_killed_is_replaced(spares: Spares) -> None:
    assert (await run(spares, spec("echo", "x"))).output == b"x\n"
    spares.refill()
    spares._fork_client.process.kill()
    for _ in range(4):
        assert (await run(spares, spec("echo", "x"))).output == b"x\n"


async def test_a_fork_server_that_dies_each_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn(sock: int, _setup: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(["false"], pass_fds=(sock,))

    before, descriptors = children(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    monkeypatch.setattr(fork_client, "_spawn", spawn)
    each = Spares(SETUP)
    with pytest.raises(OSError, match="die while they are made"):
        await each.take()
    each.close()
    assert (children(), len(os.listdir("/proc/self/fd"))) == (before, descriptors)  # noqa: PTH208


async def test_a_command_line_larger_than_a_socket_holds(spares: Spares) -> None:
    args = [str(number) * 20_000 for number in range(10)] * 3
    assert (await run(spares, spec("sh", "-c", "echo $#", "sh", *args))).output == b"30\n"


async def test_the_command_has_three_descriptors(spares: Spares) -> None:
    assert (await run(spares, spec("sh", "-c", "ls /proc/$$/fd; :"))).output.split() == [b"0", b"1", b"2"]


async def test_where_it_cannot_be_born_in_the_cgroup_it_joins_first(spares: Spares, tmp_path: Path) -> None:
    """A directory that is no cgroup is refused as an old kernel refuses any."""
    procs = tmp_path / "cgroup.procs"
    procs.touch()
    directory = os.open(tmp_path, os.O_RDONLY)
    done = await run(spares, spec("cat", str(procs)), directory)
    os.close(directory)
    assert done.output == b"0"


async def test_a_cgroup_that_cannot_be_joined_is_the_servers_fault(spares: Spares, tmp_path: Path) -> None:
    wanted = spec("echo", "never")
    directory = os.open(tmp_path, os.O_RDONLY)
    done = await run(spares, wanted, directory)
    os.close(directory)
    assert (done.output, done.exit_code) == (b"", 127)
    assert isinstance(process.failure(wanted, done.report), FileNotFoundError)


async def test_what_cannot_be_executed_is_reported(spares: Spares) -> None:
    wanted = spec("/nonexistent")
    done = await run(spares, wanted)
    assert done.exit_code == 127
    assert "ENOENT" in repr(process.failure(wanted, done.report))


async def test_no_job_gets_a_process_that_was_dropped_before_it_was_ready(spares: Spares) -> None:
    spares.refill()
    outdated = list(spares._asked)
    spares.drop()
    spare = await spares.take()
    assert spare.pid not in [pid for each in outdated for pid in each.made]
    discard(spare)


def test_a_process_that_is_dropped_ends_as_soon_as_it_is_ready(spares: Spares) -> None:
    fork_server = children()
    spares.refill()

    def dropped() -> bool:
        spares.drop()
        return spares.left == 0

    until(dropped)
    assert children() == fork_server


def test_close_ends_those_that_nobody_took() -> None:
    before, descriptors = children(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    each = Spares(SETUP)
    each.refill()
    until(lambda: len(children()) == len(before) + 4)
    each.close()
    assert (children(), len(os.listdir("/proc/self/fd"))) == (before, descriptors)  # noqa: PTH208


async def test_spare_processes_end_with_the_supervisor() -> None:
    """A supervisor that is killed closes nothing, but the kernel does it for it."""
    each = Spares(SETUP)
    spare = await each.take()
    each._fork_client.process.kill()
    spare.orders.close()
    until(lambda: child_processes.has_ended(spare.pid))
    assert exit_code_of(spare.pid) == 127
    os.close(spare.stdout)
    os.close(spare.stderr)
    each.close()


def test_a_supervisor_that_dies_while_a_spare_process_is_made_leaves_no_init() -> None:
    """Where this process may not unshare a PID namespace there is no init that could be left."""
    before = children()
    each = Spares(SETUP._replace(isolation=SETUP.isolation._replace(namespaces=("pid",))))
    each._ask()
    request = each._asked.popleft()
    request.orders.setblocking(True)  # noqa: FBT003 - it takes no keyword
    request.orders.recv(REPORT_BYTES)  # the process is there, the init is not yet
    request.abandon()
    each.close()
    until(lambda: all(has_been_reaped(child.pid) for child in children() if child not in before))


def has_been_reaped(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG) != (0, 0)


async def test_a_spare_process_whose_init_was_killed_is_of_no_use() -> None:
    """As above: without an init the spare process itself is what is killed."""
    each = Spares(SETUP._replace(isolation=SETUP.isolation._replace(namespaces=("pid",))))
    spare = await each.take()
    assert not spare.has_ended()
    victim = spare.init or spare.pid
    os.kill(victim, signal.SIGKILL)
    until(lambda: child_processes.has_ended(victim))
    assert spare.has_ended()
    discard(spare)
    each.close()


async def test_a_spare_process_that_is_killed_before_its_order_is_no_bug() -> None:
    each = Spares(SETUP)
    spare = await each.take()
    os.kill(spare.pid, signal.SIGKILL)
    until(spare.has_ended)
    for step in (
        partial(process.give_order, spare, spec("true"), SERVER, ""),
        partial(process.let_go, spare, None),
    ):
        with pytest.raises(BlockingIOError, match="the spare process was killed"):
            step()
    discard(spare)
    each.close()


def test_who_was_made_of_a_spare_process_and_has_not_said_so_is_reaped_with_it() -> None:
    spare = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {}, setpgroup=0)
    made_of_it = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {}, setpgroup=spare)
    child_processes.reap(spare)
    for pid in (spare, made_of_it):
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


async def test_a_process_that_is_not_ready_holds_up_only_the_job_that_takes_it(spares: Spares) -> None:
    os.kill(spares._fork_client.process.pid, signal.SIGSTOP)
    taking = asyncio.create_task(spares.take())
    await asyncio.sleep(0)  # it asks
    assert not taking.done()
    os.kill(spares._fork_client.process.pid, signal.SIGCONT)
    discard(await taking)


async def test_a_take_that_is_cancelled_leaves_the_process_to_the_next_one(spares: Spares) -> None:
    before, descriptors = children(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    os.kill(spares._fork_client.process.pid, signal.SIGSTOP)
    taking = asyncio.create_task(spares.take())
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    os.kill(spares._fork_client.process.pid, signal.SIGCONT)
    while spares.left:
        discard(await spares.take())
    assert (children(), len(os.listdir("/proc/self/fd"))) == (before, descriptors)  # noqa: PTH208


async def test_an_empty_pool_is_filled_while_the_job_waits(spares: Spares) -> None:
    first = await spares.take()
    left = spares.left
    assert left >= 2
    for spare in [first, *[await spares.take() for _ in range(left)]]:
        discard(spare)


async def test_an_exhausted_host_is_an_error_at_once_and_not_a_report_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """EAGAIN is what fork(2) says, and what a socket says that has no report yet."""
    refusing = (
        "import socket, sys\n"
        "sock = socket.socket(fileno=int(sys.argv[1]))\n"
        "while fds := socket.recv_fds(sock, 1, 4)[1]:\n"
        "    socket.socket(fileno=fds[3]).send(b'failed fork 11')\n"
    )

    def spawn(sock: int, _setup: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", refusing, str(sock)], pass_fds=(sock,))

    before, descriptors = children(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    monkeypatch.setattr(fork_client, "_spawn", spawn)
    each = Spares(SETUP)
    with pytest.raises(BlockingIOError, match="fork"):
        await each.take()
    each.close()
    assert (children(), len(os.listdir("/proc/self/fd"))) == (before, descriptors)  # noqa: PTH208
