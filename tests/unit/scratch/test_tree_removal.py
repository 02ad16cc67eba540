"""The removal of trees that hostile jobs have made."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from host_resources import descriptors

from jobworkerd.scratch.tree_removal import Interrupted, TreeRemoval

DEPTH = 2_100
"""Deeper than a path can name."""


def never() -> bool:
    return False


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def empty(tree: Path, interrupted: Callable[[], bool] = never) -> None:
    with opened(tree) as top:
        TreeRemoval(top, interrupted).run()


def make_chain(top: Path, depth: int) -> None:
    """Make directories in each other, with a file in the last."""
    current = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=current)
        below = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(os.open("file", os.O_CREAT, dir_fd=current))
    os.close(current)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty directory in another one."""
    made = tmp_path / "tree"
    made.mkdir()
    return made


def test_a_tree_of_any_depth_is_removed(tree: Path) -> None:
    make_chain(tree, DEPTH)
    empty(tree)
    assert not [*tree.iterdir()]


def test_directories_with_many_entries_are_removed(tree: Path) -> None:
    for directory in ("a", "a/b", "c"):
        (tree / directory).mkdir()
    # One read of a directory returns about 140 of these names.
    for number in range(300):
        (tree / f"a/b/{number:0200}").touch()
        (tree / f"c/{number:0200}").mkdir()
    empty(tree)
    assert not [*tree.iterdir()]


def test_few_descriptors_suffice(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_chain(tree, 50)
    before, most = sum(descriptors().values()), 0
    unlink = os.unlink

    def counted(name: str, *, dir_fd: int) -> None:
        nonlocal most
        most = max(most, sum(descriptors().values()) - before)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", counted)
    empty(tree)
    assert most <= 4


def test_links_and_special_files_are_removed_and_not_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    host = tmp_path / "host/file"
    host.write_text("kept")
    (tree / "to-directory").symlink_to(tmp_path / "host")
    (tree / "a").mkdir()
    (tree / "a/to-parent").symlink_to("../..")
    (tree / "a/hard").hardlink_to(host)
    os.mkfifo(tree / "a/fifo")
    (tree / "a/closed").mkdir(mode=0)
    (tree / "a/\udcff\n").touch()
    empty(tree)
    assert not [*tree.iterdir()]
    assert host.read_text() == "kept"


def without_space_for(names: int, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let renames fail while the top of a tree has more names, as on a full disk."""
    rename = os.rename

    def refuse(*arguments: Any, **directories: Any) -> None:
        if len([*top.iterdir()]) > names:
            raise OSError(errno.ENOSPC, "full")
        rename(*arguments, **directories)

    monkeypatch.setattr(os, "rename", refuse)


def test_a_tree_on_a_full_disk_is_removed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        (tree / f"a/{number}").mkdir(parents=True)
        (tree / f"b/c/{number}").mkdir(parents=True)
        (tree / f"{number}").touch()
    without_space_for(4, tree, monkeypatch)
    empty(tree)
    assert not [*tree.iterdir()]


def test_a_removal_without_progress_on_a_full_disk_ends(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "a/b").mkdir(parents=True)
    (tree / "file").touch()
    without_space_for(0, tree, monkeypatch)
    with pytest.raises(OSError, match="full"):
        empty(tree)
    assert [each.name for each in tree.iterdir()] == ["a"]


def test_a_later_removal_continues_an_interrupted_one(tree: Path) -> None:
    for number in range(10):
        (tree / f"{number}/a/b").mkdir(parents=True)
        (tree / f"{number}/c/d").mkdir(parents=True)
    for stop in (0, 7, 20):
        calls = count()
        with pytest.raises(Interrupted):
            empty(tree, lambda calls=calls, stop=stop: next(calls) == stop)  # type: ignore[misc]
    assert [*tree.iterdir()]
    empty(tree)
    assert not [*tree.iterdir()]


@pytest.mark.root
def test_a_mount_in_the_tree_is_not_emptied(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").touch()
    (tree / "a").mkdir()
    script = f"mount --bind {tmp_path}/host {tree}/a && exec {sys.executable} -c '{EMPTY}' {tree}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "EBUSY\n", done.stderr
    assert (tmp_path / "host/file").exists()


EMPTY = """
import errno, os, sys
from jobworkerd.scratch.tree_removal import TreeRemoval
try:
    TreeRemoval(os.open(sys.argv[1], os.O_RDONLY), lambda: False).run()
except OSError as error:
    print(errno.errorcode[error.errno])
"""
