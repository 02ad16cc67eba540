"""Each controller's limit and figures, on plain files in the place of a cgroup's."""

import errno
from pathlib import Path

import pytest

from jobworkerd.cgroup import cpu, files, io, memory, pids
from jobworkerd.cgroup.devices import NoDevice
from jobworkerd.model import AppliedLimit, Limits

LIMITS = Limits(max_cpu=25, max_memory=1024, max_io_bps=1_000_000, max_pids=64)
UNLIMITED = Limits(max_cpu=0, max_memory=0, max_io_bps=0, max_pids=0)

CPU_STAT = """\
usage_usec 300
user_usec 200
system_usec 100
nr_periods 5
nr_throttled 1
throttled_usec 40
"""
MEMORY_EVENTS = "low 0\nhigh 7\nmax 3\noom 1\noom_kill 2\noom_group_kill 1\n"
IO_STAT = """\
8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0
8:0 rbytes=800 wbytes=496 rios=192 wios=353 dbytes=0 dios=0
7:0
"""


def swallow(cgroup: Path, file: str) -> None:
    """Puts a file in place that takes every value and keeps none: a kernel that does not obey."""
    (cgroup / file).symlink_to("/dev/null")


def on_disks(monkeypatch: pytest.MonkeyPatch, *disks: str) -> None:
    monkeypatch.setattr(io, "whole_disks", lambda _: list(disks))


def test_is_set() -> None:
    for module in (cpu, memory, io, pids):
        assert module.is_set(LIMITS)
        assert not module.is_set(UNLIMITED)


def test_cpu(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    expected = AppliedLimit(limit="max_cpu", in_force=True, file="cpu.max", value="25000 100000")
    assert cpu.apply(tmp_path, LIMITS) == expected


def test_cpu_without_bandwidth_is_a_weight_and_not_in_force(tmp_path: Path) -> None:
    applied = cpu.apply(tmp_path, LIMITS)
    assert (applied.in_force, applied.file, applied.value) == (False, "cpu.weight", "25")
    assert "CONFIG_CFS_BANDWIDTH" in applied.reason


def test_cpu_weight_ends_where_the_kernel_ends(tmp_path: Path) -> None:
    many = Limits(max_cpu=100_000, max_memory=1, max_io_bps=0, max_pids=0)
    assert cpu.apply(tmp_path, many).value == "10000"


def test_cpu_that_the_kernel_changes(tmp_path: Path) -> None:
    swallow(tmp_path, "cpu.max")
    applied = cpu.apply(tmp_path, LIMITS)
    assert not applied.in_force
    assert applied.reason == "the kernel made '' of '25000 100000'"


def test_cpu_stat(tmp_path: Path) -> None:
    assert cpu.stat(tmp_path) == {}
    (tmp_path / "cpu.stat").write_text(CPU_STAT)
    expected = {"cpu_user_usec": 200, "cpu_system_usec": 100, "cpu_throttled_usec": 40}
    assert cpu.stat(tmp_path) == expected


def test_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.swap.max").touch()
    applied = memory.apply(tmp_path, LIMITS)
    assert applied == AppliedLimit(limit="max_memory", in_force=True, file="memory.max", value="1073741824")
    assert files.read_number(tmp_path, "memory.high") == 966_365_184  # 90 %, in whole pages
    assert files.read(tmp_path, "memory.swap.max") == "0"
    assert files.read(tmp_path, "memory.oom.group") == "1"


def test_memory_on_a_kernel_without_swap(tmp_path: Path) -> None:
    assert memory.apply(tmp_path, LIMITS).in_force
    assert not (tmp_path / "memory.swap.max").exists()


def test_memory_that_the_kernel_changes(tmp_path: Path) -> None:
    swallow(tmp_path, "memory.max")
    applied = memory.apply(tmp_path, LIMITS)
    assert (applied.in_force, applied.reason) == (False, "the kernel made '' of 1073741824")


def test_memory_stat(tmp_path: Path) -> None:
    assert memory.stat(tmp_path) == {}
    (tmp_path / "memory.peak").write_text("4096\n")
    (tmp_path / "memory.events").write_text(MEMORY_EVENTS)
    assert memory.stat(tmp_path) == {"memory_peak_bytes": 4096, "oom_kill_count": 2}


def test_io(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disks(monkeypatch, "8:0")
    applied = io.apply(tmp_path, LIMITS, [Path("/srv")])
    value = "8:0 rbps=1000000 wbps=1000000"
    assert applied == AppliedLimit(limit="max_io_bps", in_force=True, file="io.max", value=value)


def test_io_that_the_kernel_takes_for_one_disk_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disks(monkeypatch, "8:0", "8:16")
    applied = io.apply(tmp_path, LIMITS, [Path("/srv")])  # a plain file keeps what was written last
    assert (applied.in_force, applied.value) == (False, "8:16 rbps=1000000 wbps=1000000")
    assert applied.reason == "the kernel did not take the limit for 8:0"


def test_io_without_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(path: Path) -> list[str]:
        raise NoDevice(f"{path} is on tmpfs, which is no block device")

    monkeypatch.setattr(io, "whole_disks", none)
    (tmp_path / "io.max").touch()
    applied = io.apply(tmp_path, LIMITS, [Path("/srv")])
    assert not applied.in_force
    assert (
        applied.reason == "/srv is on tmpfs, which is no block device; choose a working directory on a disk"
    )


def test_io_on_a_path_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "io.max").touch()
    applied = io.apply(tmp_path, LIMITS, [tmp_path / "none"])
    assert applied.reason == f"{tmp_path / 'none'} has no device (No such file or directory)"


def test_io_stat(tmp_path: Path) -> None:
    assert io.stat(tmp_path) == {}
    (tmp_path / "io.stat").write_text(IO_STAT)
    assert io.stat(tmp_path) == {"io_read_bytes": 1_460_000, "io_write_bytes": 314_774_000}


def test_pids(tmp_path: Path) -> None:
    expected = AppliedLimit(limit="max_pids", in_force=True, file="pids.max", value="64")
    assert pids.apply(tmp_path, LIMITS) == expected


def test_pids_that_the_kernel_changes(tmp_path: Path) -> None:
    swallow(tmp_path, "pids.max")
    assert not pids.apply(tmp_path, LIMITS).in_force


def test_pids_stat(tmp_path: Path) -> None:
    assert pids.stat(tmp_path) == {}
    (tmp_path / "pids.peak").write_text("12\n")
    assert pids.stat(tmp_path) == {"pids_peak_count": 12}


def test_a_refused_write_names_the_file_and_the_value(tmp_path: Path) -> None:
    (tmp_path / "pids.max").symlink_to("/dev/full")
    with pytest.raises(OSError, match="on writing '64'") as caught:
        pids.apply(tmp_path, LIMITS)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "pids.max"))
