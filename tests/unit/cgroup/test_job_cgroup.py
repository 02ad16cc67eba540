"""All limits of a job together, on plain files instead of cgroupfs."""

import errno
import os
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from msgspec.structs import replace

from jobworkerd.cgroup.group_scan import GroupScan
from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.job_cgroup import JobCgroup
from jobworkerd.cgroup.limits import LIMITS as TABLE
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.cgroup.process_group import ProcessGroup
from jobworkerd.model import Limits

LIMITS = Limits(max_cpu=25, max_memory=64, max_io_bps=0, max_pids=64, cpu_weight=200)


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobCgroup:
    monkeypatch.setattr(JobCgroup, "_open_file", lambda *_: os.open(os.devnull, os.O_RDONLY))
    made = JobCgroup(tmp_path / "job", Hierarchy(tmp_path), create_autospec(PopulatedWatcher))
    made.make()
    (tmp_path / "job" / "cpu.max").touch()
    return made


def test_every_limit_is_in_the_table() -> None:
    assert set(TABLE) == set(Limits.__struct_fields__)


def test_unlimited_limits_are_not_applied(cgroup: JobCgroup, tmp_path: Path) -> None:
    applied = cgroup.apply(LIMITS, [])
    names = ["max_cpu", "cpu_weight", "max_memory", "max_pids", "containment"]
    assert [limit.limit for limit in applied] == names
    assert not (tmp_path / "job" / "io.max").exists()


def test_a_change_writes_only_the_named_limits(cgroup: JobCgroup, tmp_path: Path) -> None:
    (applied,) = cgroup.change(replace(LIMITS, max_pids=8), ["max_pids"], [])
    assert (applied.limit, applied.value) == ("max_pids", "8")
    assert not (tmp_path / "job" / "memory.max").exists()


def test_a_lifted_limit_is_not_reported(cgroup: JobCgroup, tmp_path: Path) -> None:
    lifted = replace(LIMITS, max_pids=0, cpu_weight=0)
    assert cgroup.change(lifted, ["max_pids", "cpu_weight"], []) == ()
    assert (tmp_path / "job" / "pids.max").read_text() == "max"
    assert (tmp_path / "job" / "cpu.weight").read_text() == "100"


def test_a_limit_that_cannot_be_lifted_is_reported(cgroup: JobCgroup, tmp_path: Path) -> None:
    (tmp_path / "job" / "pids.max").symlink_to("/dev/full")
    (applied,) = cgroup.change(replace(LIMITS, max_pids=0), ["max_pids"], [])
    assert not applied.in_force
    assert "No space left on device on writing 'max'" in applied.reason


def test_the_reason_names_a_missing_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobCgroup, "_open_file", lambda *_: os.open(os.devnull, os.O_RDONLY))
    hierarchy = Hierarchy(tmp_path, missing={"cpuset": "held by v1", "io": "not delegated"})
    made = JobCgroup(tmp_path / "job", hierarchy, create_autospec(PopulatedWatcher))
    made.make()
    limits = replace(LIMITS, max_io_iops=5, cpu_set="0")
    reasons = {limit.limit: limit.reason for limit in made.apply(limits, [])}
    assert (reasons["cpu_set"], reasons["max_io_iops"]) == ("held by v1", "not delegated")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_an_exhausted_host_is_an_error(
    cgroup: JobCgroup, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        cgroup.change(LIMITS, ["max_pids"], [])


def test_no_limit_of_a_process_group_is_in_force() -> None:
    (applied,) = ProcessGroup("no cgroups", GroupScan()).change(LIMITS, ["max_pids", "max_io_bps"], [])
    assert (applied.limit, applied.in_force, applied.reason) == ("max_pids", False, "no cgroups")


def test_a_job_starts_with_the_highest_weight_and_runs_with_its_own(
    cgroup: JobCgroup, tmp_path: Path
) -> None:
    weight = tmp_path / "job" / "cpu.weight"
    cgroup.apply(LIMITS, [])
    cgroup.boost_cpu_weight()
    assert weight.read_text() == "10000"
    weight.write_text("")  # a plain file keeps the rest of a longer value
    cgroup.restore_cpu_weight()
    assert weight.read_text() == "200"


def test_a_weight_that_cannot_be_restored_is_an_error(cgroup: JobCgroup, tmp_path: Path) -> None:
    cgroup.apply(LIMITS, [])
    cgroup.boost_cpu_weight()
    (tmp_path / "job" / "cpu.weight").unlink()
    (tmp_path / "job" / "cpu.weight").mkdir()
    with pytest.raises(OSError, match="directory"):
        cgroup.restore_cpu_weight()


def test_without_the_cpu_controller_no_weight_is_set(
    cgroup: JobCgroup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cgroup, "_hierarchy", Hierarchy(tmp_path, missing={"cpu": "held by cgroup v1"}))
    cgroup.boost_cpu_weight()
    cgroup.restore_cpu_weight()
    assert not (tmp_path / "job" / "cpu.weight").exists()
