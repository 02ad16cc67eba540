"""Read-back of limits that another program changed, on plain files instead of cgroupfs."""

from pathlib import Path

import pytest

from jobworkerd.cgroup.read_back import read_back
from jobworkerd.model import AppliedLimit

MEMORY = AppliedLimit(limit="max_memory", in_force=True, file="memory.max", value="67108864")
CORES = AppliedLimit(limit="cpu_set", in_force=True, file="cpuset.cpus", value="0-1")
IO = AppliedLimit(
    limit="max_io_bps", in_force=True, file="io.max", value="8:0 rbps=1 wbps=1 riops=max wiops=max"
)
REFUSED = AppliedLimit(limit="max_pids", in_force=False, file="pids.max", reason="the kernel has none")
CONTAINMENT = AppliedLimit(limit="containment", in_force=True, file="cgroup.kill")
ALL = (MEMORY, CORES, IO, REFUSED, CONTAINMENT)


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    (tmp_path / "memory.max").write_text("67108864\n")
    (tmp_path / "memory.oom.group").write_text("1\n")
    (tmp_path / "cpuset.cpus.effective").write_text("0-1\n")
    (tmp_path / "io.max").write_text("8:0 rbps=1 wbps=1 riops=max wiops=max\n")
    return tmp_path


def test_unchanged_limits(cgroup: Path) -> None:
    assert read_back(cgroup, ALL) == ALL


def test_the_reason_for_a_changed_limit_has_both_values(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text("max\n")
    (limit,) = read_back(cgroup, [MEMORY])
    assert (limit.in_force, limit.value) == (False, "max")
    assert limit.reason.startswith("another program changed memory.max from '67108864' to 'max'; ")


def test_a_changed_companion_file(cgroup: Path) -> None:
    (cgroup / "memory.swap.max").write_text("max\n")
    (limit,) = read_back(cgroup, [MEMORY])
    assert (limit.in_force, limit.value) == (False, "67108864")
    assert "memory.swap.max from '0' to 'max'" in limit.reason


def test_each_limit_compares_its_own_part_of_a_shared_file(cgroup: Path) -> None:
    lines = ["8:0 rbps=1 wbps=1 riops=5 wiops=5", "8:16 rbps=max wbps=max riops=5 wiops=5"]
    (cgroup / "io.max").write_text("\n".join(lines))
    (limit,) = read_back(cgroup, [IO])
    assert limit.in_force
    assert limit.value.startswith("8:0 rbps=1 wbps=1 riops=5")
    (cgroup / "io.max").write_text("8:0 rbps=2 wbps=1 riops=5 wiops=5\n")
    (limit,) = read_back(cgroup, [IO])
    assert "from '8:0 rbps=1 wbps=1' to '8:0 rbps=2 wbps=1'" in limit.reason


def test_a_disabled_controller(cgroup: Path) -> None:
    (cgroup / "io.max").unlink()
    (limit,) = read_back(cgroup, [IO])
    assert (limit.in_force, limit.value) == (False, "")
    assert limit.reason == "io.max is missing: another program disabled its controller for the jobs' cgroups"
