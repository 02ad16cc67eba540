"""The base of the cgroups of the server and of the jobs."""

import errno
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobworkerd.cgroup.base import BadBase, delegated, occupied, resolve_base
from jobworkerd.cgroup.hierarchy import Hierarchy

V2, HYBRID = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")


@pytest.mark.parametrize(
    ("configured", "mount", "base"),
    [
        ("/sys/fs/cgroup/job-worker", V2, "/sys/fs/cgroup/job-worker"),
        ("/sys/fs/cgroup/a/b/", V2, "/sys/fs/cgroup/a/b"),
        ("/sys/fs/cgroup/job-worker", HYBRID, "/sys/fs/cgroup/unified/job-worker"),
        ("/sys/fs/cgroup/unified/job-worker", HYBRID, "/sys/fs/cgroup/unified/job-worker"),
        ("/sys/fs/cgroup/a/../b", V2, "/sys/fs/cgroup/b"),
        ("/mnt/cgroup/jobs", Path("/mnt/cgroup"), "/mnt/cgroup/jobs"),
        ("/sys/fs/cgroup/jobs", Path("/mnt/cgroup"), "/mnt/cgroup/jobs"),
    ],
)
def test_resolve_base(configured: str, mount: Path, base: str) -> None:
    assert resolve_base(configured, mount) == Path(base)


@pytest.mark.parametrize(
    "configured", ["/srv/jobs", "/", "/sys/fs/cgroup/../x", "/sys/fs/cgroup2/x", "/sys/fs"]
)
def test_a_base_outside_of_cgroupfs(configured: str) -> None:
    with pytest.raises(BadBase, match="is not a directory below /sys/fs/cgroup, where cgroup v2 is mounted"):
        resolve_base(configured, V2)


@pytest.mark.parametrize("mount", [V2, HYBRID])
def test_the_mount_itself_is_rejected(mount: Path) -> None:
    with pytest.raises(BadBase, match=f"use a directory below it, such as {mount}/job-worker"):
        resolve_base(f"{mount}/", mount)


def test_reasons() -> None:
    assert Hierarchy(None, "no cgroups here").reason("cpu") == "no cgroups here"
    assert Hierarchy(Path("/x"), missing={"cpu": "held by v1"}).reason("cpu") == "held by v1"
    assert Hierarchy(Path("/x"), missing={"cpu": "held by v1"}).reason("io") == ""


class Tree:
    """Plain directories instead of cgroups. A new directory gets the files of cgroupfs."""

    def __init__(self, mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mount = mount
        self.marks: dict[Path, bytes] = {}
        monkeypatch.setattr(os, "setxattr", lambda path, _, value: self.marks.update({path: value}))
        monkeypatch.setattr(os, "getxattr", self._mark)
        monkeypatch.setattr(os, "access", lambda path, _: path not in self.forbidden)
        self.forbidden: set[Path] = set()

    def _mark(self, path: Path, _: str) -> bytes:
        if path not in self.marks:
            raise OSError(errno.ENODATA, "No data available")
        return self.marks[path]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def test_created_directories_are_removed_and_used_ones_stay(tree: Tree) -> None:
    base = tree.mount / "a/b/c"
    with occupied(base):
        assert base.is_dir()
        (tree.mount / "a/other").mkdir()
    assert [entry.name for entry in (tree.mount / "a").iterdir()] == ["other"]


def test_the_next_server_removes_the_base_of_a_killed_server(tree: Tree) -> None:
    base = tree.mount / "base"
    base.mkdir()
    tree.marks[base] = b"made"
    with occupied(base):
        pass
    assert not base.exists()


def test_a_prepared_base_stays(tree: Tree) -> None:
    base = tree.mount / "base"
    base.mkdir()
    with occupied(base):
        pass
    assert base.exists()


def test_an_unusable_base_leaves_nothing_behind(tree: Tree) -> None:
    base = tree.mount / "a/base"
    tree.forbidden.add(base / "cgroup.procs")
    with pytest.raises(PermissionError), occupied(base):
        pass
    assert not (tree.mount / "a").exists()


def test_only_one_server_uses_a_base(tree: Tree) -> None:
    base = tree.mount / "base"
    with occupied(base):
        with pytest.raises(BadBase, match=f"another server uses {base}"), occupied(base):
            pass
        assert base.is_dir()


def test_a_base_that_another_server_has_just_removed_is_recreated(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tree.mount / "base"
    opened: list[int] = []

    def flock(descriptor: int, _: int) -> None:
        if not opened:
            base.rmdir()
        opened.append(descriptor)

    monkeypatch.setattr(fcntl, "flock", flock)
    with occupied(base):
        assert base.is_dir()
        assert len(opened) == 2


@pytest.mark.parametrize("own", ["/run.scope", "/run.scope/server"])
def test_a_second_server_in_the_same_scope_has_the_same_base(tree: Tree, own: str) -> None:
    (tree.mount / "proc/self").mkdir(parents=True)
    (tree.mount / "proc/self/cgroup").write_text(f"0::{own}\n")
    assert delegated(tree.mount, tree.mount / "proc") == tree.mount / "run.scope"


def test_close_removes_all_created_directories() -> None:
    released: list[str] = []
    made = ExitStack()
    made.callback(released.append, "base")
    Hierarchy(Path("/x"), made=made).close()
    assert released == ["base"]
