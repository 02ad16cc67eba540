"""Children of this process: they are started, killed and reaped without a wait."""

import asyncio
import os
import signal
import sys
import time

import pytest
from children import wait_until
from own_children import OwnChildren

SLEEP = ("/bin/sleep", "300")


def is_reaped(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_child_has_its_own_group_an_empty_stdin_and_the_descriptors() -> None:
    read_end, write_end = os.pipe()
    code = "import os, sys; os.write(int(sys.argv[1]), b'%d %r' % (os.getpgid(0), os.read(0, 1)))"
    children = OwnChildren()
    pid = children.spawn([sys.executable, "-c", code, "{1}"], [read_end, write_end])
    os.close(write_end)
    assert os.read(read_end, 64) == b"%d b''" % pid
    os.close(read_end)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it ends now
    assert await children.reap(pid) == 0
    assert is_reaped(pid)


def test_the_descriptors_are_not_inherited_by_later_programs() -> None:
    read_end, write_end = os.pipe()
    children = OwnChildren()
    children.discard(children.spawn(SLEEP, [read_end]))
    assert not os.get_inheritable(read_end)
    os.close(read_end)
    os.close(write_end)
    wait_until(children.reap_discarded)


def test_a_discarded_child_is_killed_and_reaped() -> None:
    children = OwnChildren()
    pid = children.spawn(SLEEP, [])
    children.discard(pid, group=False)
    wait_until(children.reap_discarded)
    assert is_reaped(pid)


def test_a_discarded_group_includes_an_unreported_process() -> None:
    children = OwnChildren()
    leader = children.spawn(SLEEP, [])
    unreported = os.posix_spawn(SLEEP[0], SLEEP, {}, setpgroup=leader)
    children.discard(leader)
    wait_until(children.reap_discarded)
    assert is_reaped(leader)
    assert is_reaped(unreported)


async def test_the_loop_reaps_a_child_that_ends_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores the kill stands for one that the kernel holds."""
    children = OwnChildren(asyncio.get_running_loop())
    pid = children.spawn(SLEEP, [])
    with monkeypatch.context() as kernel:
        kernel.setattr(os, "kill", lambda *_: None)
        kernel.setattr(os, "killpg", lambda *_: None)
        started = time.monotonic()
        children.discard(pid)
        assert time.monotonic() - started < 0.1
    await asyncio.sleep(0.05)
    assert not is_reaped(pid)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while not is_reaped(pid):
            await asyncio.sleep(0.01)
    children.close()
