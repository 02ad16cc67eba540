"""Isolation in a user namespace, as for a server without root."""

import errno
import os
import subprocess
import sys

import pytest
from own_children import OwnChildren

from jobworkerd.spawn import isolation, user_namespace
from jobworkerd.spawn.isolation import Isolation
from jobworkerd.spawn.spare_pool import SparePool
from tests.unit.spawn.spare_runs import SETUP, new_spec, run

NEW_PROC = """
import os, signal
from jobworkerd.spawn import isolation
from jobworkerd.spawn.private_mounts import View

wanted = isolation.Isolation(("mount", "pid"), False, 0, View(private=(b"/home",)), user_namespace=True)
entered = isolation.enter(wanted, lambda init: None)
os.kill(entered.init, signal.SIGKILL)
print(entered.refused)
"""


REFUSED = """
import os
from jobworkerd.spawn import user_namespace

before = os.readlink("/proc/self/ns/user")
os.geteuid = lambda: 4_000_000  # the kernel accepts only the user of the process
try:
    user_namespace.enter()
except OSError as error:
    print(type(error).__name__, os.readlink("/proc/self/ns/user") == before)
"""
"""A program of its own, because the kernel refuses user namespaces to a process with threads."""


UNUSABLE = """
import os
from jobworkerd.spawn import isolation, user_namespace

os.geteuid = lambda: 4_000_000
user_namespace.errno_in_child = lambda: 0
isolation.enter(isolation.Isolation(("uts",), False, 0, user_namespace=True), lambda init: None)
"""


def own_namespace() -> str:
    return os.readlink("/proc/self/ns/user")  # noqa: PTH115


async def test_the_namespaces_belong_to_a_user_namespace_of_one_user(children: OwnChildren) -> None:
    inside = SETUP.isolation._replace(namespaces=("uts",), user_namespace=True)
    # In the namespace, root cannot lower the nice value of the fork server.
    pool = SparePool(SETUP._replace(isolation=inside, nice=19), children)
    script = "readlink /proc/self/ns/user; cat /proc/self/uid_map /proc/self/gid_map"
    result = await run(pool, new_spec("sh", "-c", script))
    pool.close()
    namespace, *maps = result.output.decode().split()
    assert namespace != own_namespace()
    assert maps == [*[str(os.getuid())] * 2, "1", *[str(os.getgid())] * 2, "1"]


def test_without_user_namespaces_all_namespaces_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_namespace, "_errno_of_enter", lambda: errno.EPERM)
    before = own_namespace()
    wanted = Isolation(("uts", "pid"), no_new_privileges=False, nice=0, user_namespace=True)
    entered = isolation.enter(wanted, lambda _: None)
    assert entered == (0, {"uts": errno.EPERM, "pid": errno.EPERM})
    assert own_namespace() == before


def test_a_refused_map_leaves_the_process_unchanged() -> None:
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("PermissionError True\n", "")


@pytest.mark.root
@pytest.mark.parametrize(
    ("mask", "refused"), [("true", {}), ("mount --bind /dev/null /proc/version", {"proc": 1})]
)
def test_the_kernel_refuses_a_proc_without_the_masks_of_the_host(mask: str, refused: dict[str, int]) -> None:
    script = f"{mask} && exec {sys.executable} -c '{NEW_PROC}'"
    argv = ["unshare", "--mount", "--fork", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{refused}\n", "")


def test_a_process_that_could_enter_but_not_be_mapped_is_not_used() -> None:
    done = subprocess.run([sys.executable, "-c", UNUSABLE], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("BlockingIOError")
