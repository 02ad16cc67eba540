"""Repair of the jobs' cgroup after another program removed it or disabled controllers."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from jobworkerd.cgroup import hierarchy as hierarchy_module
from jobworkerd.cgroup.hierarchy import Hierarchy

MISSING = dict.fromkeys(("cpuset", "io", "pids"), "held by cgroup v1")


class Kernel:
    """Enables controllers in plain files, except those that it `refuses`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuses = ""
        monkeypatch.setattr(hierarchy_module, "cgroup2_mount", lambda: Path("/"))
        monkeypatch.setattr(hierarchy_module, "enable", self.enable)
        monkeypatch.setattr(os, "access", lambda *_: True)

    def enable(self, controller: str, _: Path, cgroup: Path) -> str:
        if not self.refuses:
            with (cgroup / "cgroup.subtree_control").open("a") as file:
                file.write(f"{controller} ")
        return self.refuses and f"{controller}: {self.refuses}"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def hierarchy(tmp_path: Path, kernel: Kernel) -> Hierarchy:
    made = Hierarchy(tmp_path / "base", missing=MISSING)
    made.jobs.mkdir(parents=True)
    for controller in ("cpu", "memory"):
        kernel.enable(controller, tmp_path, made.jobs)
    return made


def test_nothing_is_repaired_without_a_change(hierarchy: Hierarchy) -> None:
    hierarchy.repair()
    assert (hierarchy.repaired, hierarchy.problem) == ([], "")


def test_a_removed_base_is_recreated(hierarchy: Hierarchy) -> None:
    assert hierarchy.base
    shutil.rmtree(hierarchy.base)
    hierarchy.repair()
    assert hierarchy.repaired == [str(hierarchy.jobs), "cpu", "memory"]
    assert hierarchy.jobs.is_dir()
    hierarchy.repaired.clear()
    hierarchy.repair()
    assert hierarchy.repaired == []


def test_a_disabled_controller_is_enabled_again(hierarchy: Hierarchy) -> None:
    (hierarchy.jobs / "cgroup.subtree_control").write_text("cpu ")
    hierarchy.repair()
    assert (hierarchy.repaired, hierarchy.reason("memory")) == (["memory"], "")


def test_the_reason_names_a_controller_that_cannot_be_enabled(hierarchy: Hierarchy, kernel: Kernel) -> None:
    (hierarchy.jobs / "cgroup.subtree_control").write_text("")
    kernel.refuses = "busy"
    hierarchy.repair()
    assert hierarchy.reason("memory") == "memory: busy"
    assert hierarchy.reason("io") == "held by cgroup v1"
    assert hierarchy.problem == "cpu: busy; memory: busy"
    kernel.refuses = ""
    hierarchy.repair()
    assert (hierarchy.problem, hierarchy.reason("memory")) == ("", "")


def test_the_reason_names_a_base_that_cannot_be_recreated(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hierarchy.base
    shutil.rmtree(hierarchy.base)

    def refuse(base: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(base))

    monkeypatch.setattr(hierarchy_module, "make", refuse)
    hierarchy.repair()
    why = f"{hierarchy.jobs} is missing and cannot be created again (Read-only file system)"
    assert (hierarchy.problem, hierarchy.reason("cpu")) == (why, why)


def test_an_exhausted_host_is_an_error(hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hierarchy.base
    shutil.rmtree(hierarchy.base)

    def fail(_: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(hierarchy_module, "make", fail)
    with pytest.raises(OSError, match="Too many open files"):
        hierarchy.repair()
    assert hierarchy.problem == ""
