"""The limits and figures of each controller, on plain files instead of cgroupfs."""

import errno
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.cgroup import cpu, cpuset, files, io, memory, pids, psi
from jobworkerd.cgroup.devices import NoDevice
from jobworkerd.model import AppliedLimit, Limits

LIMITS = Limits(
    max_cpu=25,
    max_memory=1024,
    max_io_bps=1_000_000,
    max_pids=64,
    max_io_iops=500,
    cpu_weight=200,
    cpu_set="0-1",
)
LIFTED = replace(LIMITS, max_io_bps=0, max_pids=0, max_io_iops=0, cpu_weight=0, cpu_set="")

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
    """Create a file that accepts all values and stores none, like a kernel that ignores the value."""
    (cgroup / file).symlink_to("/dev/null")


def on_disks(monkeypatch: pytest.MonkeyPatch, *disks: str) -> None:
    monkeypatch.setattr(io, "whole_disks", lambda _: list(disks))


def test_cpu(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    expected = AppliedLimit(limit="max_cpu", in_force=True, file="cpu.max", value="25000 100000")
    assert cpu.MAX_CPU.apply(tmp_path, LIMITS) == expected


def test_cpu_without_bandwidth_control_sets_a_weight_and_is_not_in_force(tmp_path: Path) -> None:
    applied = cpu.MAX_CPU.apply(tmp_path, replace(LIMITS, cpu_weight=0))
    assert (applied.in_force, applied.file, applied.value) == (False, "cpu.weight", "25")
    assert "CONFIG_CFS_BANDWIDTH" in applied.reason


def test_cpu_without_bandwidth_control_keeps_a_requested_weight(tmp_path: Path) -> None:
    assert cpu.CPU_WEIGHT.apply(tmp_path, LIMITS).in_force
    assert cpu.MAX_CPU.apply(tmp_path, LIMITS).value == "200"


def test_cpu_weight(tmp_path: Path) -> None:
    expected = AppliedLimit(limit="cpu_weight", in_force=True, file="cpu.weight", value="200")
    assert cpu.CPU_WEIGHT.apply(tmp_path, LIMITS) == expected
    assert cpu.CPU_WEIGHT.apply(tmp_path, LIFTED).value == "100"


def test_the_weight_instead_of_the_cpu_limit_is_bounded(tmp_path: Path) -> None:
    many = Limits(max_cpu=100_000, max_memory=1, max_io_bps=0, max_pids=0)
    assert cpu.MAX_CPU.apply(tmp_path, many).value == "10000"


def test_the_kernel_changes_the_cpu_limit(tmp_path: Path) -> None:
    swallow(tmp_path, "cpu.max")
    applied = cpu.MAX_CPU.apply(tmp_path, LIMITS)
    assert not applied.in_force
    assert applied.reason == "the kernel changed '25000 100000' to ''"


def test_cpu_stat(tmp_path: Path) -> None:
    assert cpu.stat(tmp_path) == {}
    (tmp_path / "cpu.stat").write_text(CPU_STAT)
    expected = {"cpu_user_usec": 200, "cpu_system_usec": 100, "cpu_throttled_usec": 40}
    assert cpu.stat(tmp_path) == expected


def test_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.swap.max").touch()
    applied = memory.MAX_MEMORY.apply(tmp_path, LIMITS)
    assert applied == AppliedLimit(limit="max_memory", in_force=True, file="memory.max", value="1073741824")
    assert files.read_number(tmp_path, "memory.high") == 966_365_184  # 90 %, in whole pages
    assert files.read(tmp_path, "memory.swap.max") == "0"
    assert files.read(tmp_path, "memory.oom.group") == "1"


def test_memory_on_a_kernel_without_swap(tmp_path: Path) -> None:
    assert memory.MAX_MEMORY.apply(tmp_path, LIMITS).in_force
    assert not (tmp_path / "memory.swap.max").exists()


def test_the_kernel_changes_the_memory_limit(tmp_path: Path) -> None:
    swallow(tmp_path, "memory.max")
    applied = memory.MAX_MEMORY.apply(tmp_path, LIMITS)
    assert (applied.in_force, applied.reason) == (False, "the kernel changed 1073741824 to ''")


def test_memory_is_in_force_only_with_all_companion_files(tmp_path: Path) -> None:
    swallow(tmp_path, "memory.oom.group")
    applied = memory.MAX_MEMORY.apply(tmp_path, LIMITS)
    assert (applied.in_force, applied.value) == (False, "1073741824")
    assert applied.reason == "memory.oom.group: the kernel changed '1' to ''"


def test_memory_stat(tmp_path: Path) -> None:
    assert memory.stat(tmp_path) == {}
    (tmp_path / "memory.current").write_text("1024\n")
    (tmp_path / "memory.peak").write_text("4096\n")
    (tmp_path / "memory.events").write_text(MEMORY_EVENTS)
    assert memory.stat(tmp_path) == {
        "memory_current_bytes": 1024,
        "memory_peak_bytes": 4096,
        "memory_high_count": 7,
        "oom_count": 1,
        "oom_kill_count": 2,
    }


def cores_of(base: Path, *, effective: str, given: str) -> Path:
    """Create the cgroup of a job on a host with `effective` cores; the kernel uses the `given` cores."""
    (base / "cpuset.cpus.effective").write_text(effective + "\n")
    job = base / "job"
    job.mkdir()
    (job / "cpuset.cpus.effective").write_text(given + "\n")
    return job


def test_cpuset(tmp_path: Path) -> None:
    job = cores_of(tmp_path, effective="0-3", given="0-1")
    assert cpuset.CPU_SET.apply(job, LIMITS) == AppliedLimit(
        limit="cpu_set", in_force=True, file="cpuset.cpus", value="0-1"
    )
    assert files.read(job, "cpuset.cpus") == "0-1"


def test_cpuset_is_reduced_to_the_available_cores(tmp_path: Path) -> None:
    job = cores_of(tmp_path, effective="1-2", given="1")
    applied = cpuset.CPU_SET.apply(job, LIMITS)
    assert (applied.in_force, applied.value) == (False, "1")
    assert applied.reason == "cores 0 are not available; use some of 1-2"
    assert files.read(job, "cpuset.cpus") == "1"


def test_the_kernel_chooses_other_cores(tmp_path: Path) -> None:
    job = cores_of(tmp_path, effective="0-3", given="0-3")
    assert cpuset.CPU_SET.apply(job, LIMITS).reason == "the kernel chose cores 0-3"


def test_a_lifted_cpuset(tmp_path: Path) -> None:
    job = cores_of(tmp_path, effective="0-3", given="0-3")
    assert cpuset.CPU_SET.apply(job, LIFTED).in_force
    assert (job / "cpuset.cpus").read_text() == "\n"  # the kernel does not see a write of no bytes


def test_io(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disks(monkeypatch, "8:0")
    (tmp_path / "io.max").touch()
    applied = io.MAX_IO_BPS.apply(tmp_path, LIMITS, [Path("/srv")])
    value = "8:0 rbps=1000000 wbps=1000000"
    assert applied == AppliedLimit(limit="max_io_bps", in_force=True, file="io.max", value=value)
    applied = io.MAX_IO_IOPS.apply(tmp_path, LIMITS, [Path("/srv")])
    value = "8:0 riops=500 wiops=500"
    assert applied == AppliedLimit(limit="max_io_iops", in_force=True, file="io.max", value=value)


def test_two_io_limits_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel shows all four rates in one line, and no line for a disk without limits."""
    on_disks(monkeypatch, "8:0")
    monkeypatch.setattr(files, "write", lambda *_: None)
    (tmp_path / "io.max").write_text("8:0 rbps=1000000 wbps=1000000 riops=500 wiops=max\n")
    assert io.MAX_IO_BPS.apply(tmp_path, LIMITS, [Path("/srv")]).in_force
    assert not io.MAX_IO_IOPS.apply(tmp_path, LIMITS, [Path("/srv")]).in_force
    assert not io.MAX_IO_BPS.apply(tmp_path, LIFTED, [Path("/srv")]).in_force
    (tmp_path / "io.max").write_text("")
    assert io.MAX_IO_BPS.apply(tmp_path, LIFTED, [Path("/srv")]).in_force
    assert not io.MAX_IO_BPS.apply(tmp_path, LIMITS, [Path("/srv")]).in_force


def test_io_without_throttling(tmp_path: Path) -> None:
    applied = io.MAX_IO_BPS.apply(tmp_path, LIMITS, [Path("/srv")])
    assert (applied.in_force, applied.file, applied.reason) == (False, "", io.NO_MAX)


def test_the_kernel_accepts_the_io_limit_for_one_of_two_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disks(monkeypatch, "8:0", "8:16")
    (tmp_path / "io.max").touch()
    applied = io.MAX_IO_BPS.apply(tmp_path, LIMITS, [Path("/srv")])  # a plain file keeps the last write
    assert (applied.in_force, applied.value) == (False, "8:16 rbps=1000000 wbps=1000000")
    assert applied.reason == "the kernel did not accept the limit for 8:0"


def test_io_without_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(path: Path) -> list[str]:
        raise NoDevice(f"{path} is on tmpfs, not on a block device")

    monkeypatch.setattr(io, "whole_disks", none)
    (tmp_path / "io.max").touch()
    assert io.MAX_IO_IOPS.apply(tmp_path, LIFTED, [Path("/srv")]).in_force
    applied = io.MAX_IO_IOPS.apply(tmp_path, LIMITS, [Path("/srv")])
    assert not applied.in_force
    assert applied.reason == "/srv is on tmpfs, not on a block device; use a working directory on a disk"


def test_io_on_a_missing_path(tmp_path: Path) -> None:
    (tmp_path / "io.max").touch()
    applied = io.MAX_IO_BPS.apply(tmp_path, LIMITS, [tmp_path / "none"])
    assert applied.reason == f"{tmp_path / 'none'} has no device (No such file or directory)"


def test_io_stat(tmp_path: Path) -> None:
    assert io.stat(tmp_path) == {}
    (tmp_path / "io.stat").write_text(IO_STAT)
    assert io.stat(tmp_path) == {
        "io_read_bytes": 1_460_000,
        "io_write_bytes": 314_774_000,
        "io_read_count": 384,
        "io_write_count": 706,
    }


def test_pids(tmp_path: Path) -> None:
    expected = AppliedLimit(limit="max_pids", in_force=True, file="pids.max", value="64")
    assert pids.MAX_PIDS.apply(tmp_path, LIMITS) == expected
    assert pids.MAX_PIDS.apply(tmp_path, LIFTED).value == "max"


def test_the_kernel_changes_the_process_limit(tmp_path: Path) -> None:
    swallow(tmp_path, "pids.max")
    assert not pids.MAX_PIDS.apply(tmp_path, LIMITS).in_force


def test_pids_stat(tmp_path: Path) -> None:
    assert pids.stat(tmp_path) == {}
    (tmp_path / "pids.peak").write_text("12\n")
    assert pids.stat(tmp_path) == {"pids_peak_count": 12}
    (tmp_path / "pids.events").write_text("max 3\n")
    assert pids.stat(tmp_path) == {"pids_peak_count": 12, "pids_denied_count": 3}


def test_psi(tmp_path: Path) -> None:
    assert psi.stat(tmp_path) == {}
    line = "avg10=0.00 avg60=0.00 avg300=0.00 total"
    (tmp_path / "cpu.pressure").write_text(f"some {line}=12\n")  # before Linux 5.13
    (tmp_path / "io.pressure").write_text(f"some {line}=5\nfull {line}=3\n")
    (tmp_path / "memory.pressure").mkdir()  # a read fails, like with PSI disabled
    assert psi.stat(tmp_path) == {
        "cpu_pressure_some_usec": 12,
        "io_pressure_some_usec": 5,
        "io_pressure_full_usec": 3,
    }


def test_a_refused_write_names_the_file_and_the_value(tmp_path: Path) -> None:
    (tmp_path / "pids.max").symlink_to("/dev/full")
    with pytest.raises(OSError, match="on writing '64'") as caught:
        pids.MAX_PIDS.apply(tmp_path, LIMITS)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "pids.max"))
