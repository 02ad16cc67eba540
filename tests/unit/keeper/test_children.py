"""Children of this process: they are started, killed and reaped without a wait."""

import os
import subprocess
import sys

import psutil
from children import is_reaped, wait_until

from jobworkerd.keeper.children import Children, start_time

SLEEP = ("/bin/sleep", "300")


def _reap_all(children: Children) -> None:
    def all_ended() -> bool:
        children.reap_discarded()
        return not children.discarded

    wait_until(all_ended)


def test_a_child_has_its_own_group_an_empty_stdin_and_the_descriptors() -> None:
    read_end, write_end = os.pipe()
    code = "import os, sys; os.write(int(sys.argv[1]), b'%d %r' % (os.getpgid(0), os.read(0, 1)))"
    children = Children()
    pid = children.spawn([sys.executable, "-c", code, "{1}"], [read_end, write_end])
    os.close(write_end)
    assert os.read(read_end, 64) == b"%d b''" % pid
    os.close(read_end)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert children.reap(pid) == 0
    assert is_reaped(pid)


def test_the_descriptors_are_not_inherited_by_later_programs() -> None:
    read_end, write_end = os.pipe()
    children = Children()
    children.discard(children.spawn(SLEEP, [read_end]), group=True)
    assert not os.get_inheritable(read_end)
    os.close(read_end)
    os.close(write_end)
    _reap_all(children)


def test_a_discarded_child_is_killed_and_reaped() -> None:
    children = Children()
    pid = children.spawn(SLEEP, [])
    children.discard(pid, group=False)
    _reap_all(children)
    assert is_reaped(pid)


def test_a_discarded_group_includes_an_unreported_process() -> None:
    children = Children()
    leader = children.spawn(SLEEP, [])
    unreported = os.posix_spawn(SLEEP[0], SLEEP, {}, setpgroup=leader)
    children.discard(leader, group=True)
    _reap_all(children)
    assert is_reaped(leader)
    assert is_reaped(unreported)


def test_only_unknown_children_that_are_older_are_discarded() -> None:
    kept, unknown = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
    children = Children()
    others = {each.pid for each in psutil.Process().children()} - {unknown.pid}
    children.discard_others(others | {kept.pid}, start_time(unknown.pid))
    assert children.discarded == set()
    children.discard_others(others | {kept.pid}, start_time(unknown.pid) + 1)
    unknown.wait()
    assert unknown.returncode in {0, -9}
    assert kept.poll() is None
    kept.kill()
    kept.wait()


def test_a_child_in_the_group_of_a_kept_child_is_not_discarded() -> None:
    """A main process is in the group of its spare process until it reports its PID."""
    spare = subprocess.Popen(["sleep", "60"], process_group=0)
    unreported = subprocess.Popen(["sleep", "60"], process_group=spare.pid)
    others = {each.pid for each in psutil.Process().children()} - {unreported.pid}
    children = Children()
    children.discard_others(others, start_time(unreported.pid) + 1)
    assert unreported.poll() is None
    for each in (spare, unreported):
        each.kill()
        each.wait()
