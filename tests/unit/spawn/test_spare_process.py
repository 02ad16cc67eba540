"""Spare processes: the command that they execute, and their end."""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from children import reap_all, wait_until
from own_children import OwnChildren

from jobworkerd.spawn import exec_protocol, fork_client, process
from jobworkerd.spawn.exec_protocol import Forked
from jobworkerd.spawn.spare import discard
from jobworkerd.spawn.spare_pool import SparePool
from tests.unit.spawn.spare_runs import (
    SERVER,
    SETUP,
    WITH_INIT,
    child_list,
    fork_server_pid,
    has_ended,
    new_spec,
    reaped_exit_code,
    run,
)


async def test_the_supervisor_reaps_the_command(pool: SparePool) -> None:
    result = await run(pool, new_spec("sh", "-c", "echo $$ $PPID; exit 3"))
    assert (result.exit_code, result.report) == (3, None)
    assert result.output == f"{result.pid} {os.getpid()}\n".encode()


async def test_the_command_has_its_own_session_without_the_spare_process(pool: SparePool) -> None:
    result = await run(pool, new_spec("sh", "-c", "ps -o pid= -g $$ | wc -l; ps -o sid= -p $$"))
    assert result.output.split() == [b"3", str(result.pid).encode()]  # sh, ps and wc


async def test_the_command_starts_with_default_signal_dispositions(pool: SparePool) -> None:
    result = await run(pool, new_spec("sh", "-c", "cat /proc/self/status; kill -TERM $$"))
    assert result.exit_code == -signal.SIGTERM
    status = dict(line.split(b":\t", 1) for line in result.output.splitlines())
    # Except 32 and 33, which the C library reserves (signal(7)). They are as in this process.
    reserved = 0b11 << 31
    assert {int(status[name], 16) & ~reserved for name in (b"SigBlk", b"SigIgn", b"SigCgt")} == {0}


async def test_a_command_line_larger_than_a_socket_buffer(pool: SparePool) -> None:
    args = [str(number) * 20_000 for number in range(10)] * 3
    assert (await run(pool, new_spec("sh", "-c", "echo $#", "sh", *args))).output == b"30\n"


async def test_the_command_has_three_descriptors(pool: SparePool) -> None:
    assert (await run(pool, new_spec("sh", "-c", "ls /proc/$$/fd; :"))).output.split() == [b"0", b"1", b"2"]


async def test_without_clone_into_cgroup_the_process_joins(pool: SparePool, tmp_path: Path) -> None:
    """The kernel rejects a directory that is not a cgroup, as an old kernel rejects every cgroup."""
    procs = tmp_path / "cgroup.procs"
    procs.touch()
    directory = os.open(tmp_path, os.O_RDONLY)
    result = await run(pool, new_spec("cat", str(procs)), directory)
    os.close(directory)
    assert result.output == b"0"


async def test_a_cgroup_that_cannot_be_joined_is_a_server_error(pool: SparePool, tmp_path: Path) -> None:
    spec = new_spec("echo", "never")
    directory = os.open(tmp_path, os.O_RDONLY)
    result = await run(pool, spec, directory)
    os.close(directory)
    assert (result.output, result.exit_code) == (b"", 127)
    assert isinstance(process.error_of(spec, result.failed), FileNotFoundError)


async def test_a_failed_exec_is_reported(pool: SparePool) -> None:
    spec = new_spec("/nonexistent")
    result = await run(pool, spec)
    assert result.exit_code == 127
    assert "ENOENT" in repr(process.error_of(spec, result.failed))


async def test_a_spare_process_ends_when_its_control_socket_closes(children: OwnChildren) -> None:
    """The kernel closes the control sockets of a killed supervisor."""
    pool = SparePool(SETUP, children)
    spare = await pool.take()
    os.kill(fork_server_pid(pool), signal.SIGKILL)
    spare.control.close()
    wait_until(lambda: has_ended(spare.pid))
    assert reaped_exit_code(spare.pid) == 127
    os.close(spare.stdout)
    os.close(spare.stderr)
    pool.close()


async def test_a_supervisor_that_dies_during_the_preparation_leaves_no_init(children: OwnChildren) -> None:
    """Without the privilege to unshare a PID namespace no init exists."""
    before = child_list()
    pool = SparePool(WITH_INIT, children)
    pool._request()
    request = pool._requests.popleft()
    request.control.setblocking(True)  # noqa: FBT003 - it takes no keyword
    assert isinstance(exec_protocol.receive(request.control), Forked)  # but not yet the init
    request.abandon()
    pool.close()
    reap_all(children)
    wait_until(lambda: all(has_been_reaped(child.pid) for child in child_list() if child not in before))


DIES_WITH_A_NEW_INIT = """
import os, signal, sys
from jobworkerd.spawn import clone, fork_server

fork, server = clone.fork_sibling, os.getpid()

def fork_and_die(*args):
    pid = fork(*args)
    if pid and os.getpid() != server:
        os.kill(os.getpid(), signal.SIGKILL)
    return pid

clone.fork_sibling = fork_and_die
sys.exit(fork_server.main())
"""


async def test_a_spare_process_that_is_killed_before_it_knows_its_init_leaves_none(
    children: OwnChildren, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the privilege to unshare a PID namespace no init exists, and no process dies."""
    before = child_list()
    monkeypatch.setattr(
        fork_client, "FORK_SERVER", [sys.executable, "-c", DIES_WITH_A_NEW_INIT, "{0}", "{1}"]
    )
    pool = SparePool(WITH_INIT, children)
    if os.geteuid() == 0:
        with pytest.raises(OSError, match="die during their preparation"):
            await pool.take()
    pool.close()
    reap_all(children)
    assert child_list() == before


def has_been_reaped(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG) != (0, 0)


async def test_a_spare_process_whose_init_was_killed_has_ended(children: OwnChildren) -> None:
    """Without an init the test kills the spare process."""
    pool = SparePool(WITH_INIT, children)
    spare = await pool.take()
    assert not spare.has_ended()
    victim = spare.init.pid if spare.init else spare.pid
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: has_ended(victim))
    assert spare.has_ended()
    discard(spare, children)
    pool.close()


async def test_send_and_release_report_a_killed_spare_process(children: OwnChildren) -> None:
    pool = SparePool(SETUP, children)
    spare = await pool.take()
    os.kill(spare.pid, signal.SIGKILL)
    wait_until(spare.has_ended)
    for step in (
        partial(process.send, spare, process.exec_request(new_spec("true"), SERVER, "")),
        partial(process.release, spare.control, None),
    ):
        with pytest.raises(BlockingIOError, match="the spare process was killed"):
            step()
    discard(spare, children)
    pool.close()
