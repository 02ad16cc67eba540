"""Finds the whole disks of a file in a sysfs of plain files."""

import os
from pathlib import Path

import pytest

from jobworkerd.cgroup.devices import NoDevice, whole_disks


class Sysfs:
    """A sysfs with two partitioned disks. `place` sets the device of the tests' files."""

    def __init__(self, root: Path) -> None:
        self.block = root / "dev/block"
        self.block.mkdir(parents=True)
        self.devices = root / "devices"
        self.disks = [self._disk("sda", "8:0", "8:1"), self._disk("sdb", "8:16", "8:17")]

    def _disk(self, name: str, number: str, partition: str) -> Path:
        disk = self.device(name, number)
        (disk / "slaves").mkdir()
        part = self.device(f"{name}/{name}1", partition)
        (part / "partition").write_text("1\n")
        return disk

    def device(self, name: str, number: str) -> Path:
        path = self.devices / name
        path.mkdir(parents=True)
        (path / "dev").write_text(f"{number}\n")
        return path

    def stacked(self, name: str, number: str, *below: Path) -> Path:
        path = self.device(name, number)
        (path / "slaves").mkdir()
        for each in below:
            (path / "slaves" / each.name).symlink_to(each)
        return path

    def place(self, file: Path, device: Path) -> None:
        number = file.stat().st_dev
        (self.block / f"{os.major(number)}:{os.minor(number)}").symlink_to(device)


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path / "sys")


def test_a_disk(sysfs: Sysfs, tmp_path: Path) -> None:
    sysfs.place(tmp_path, sysfs.disks[0])
    assert whole_disks(tmp_path, sysfs.block) == ["8:0"]


def test_a_partition_is_mapped_to_its_disk(sysfs: Sysfs, tmp_path: Path) -> None:
    sysfs.place(tmp_path, sysfs.disks[1] / "sdb1")
    assert whole_disks(tmp_path, sysfs.block) == ["8:16"]


def test_a_device_mapper_device_is_mapped_to_the_disks_below(sysfs: Sysfs, tmp_path: Path) -> None:
    first, second = sysfs.disks[0] / "sda1", sysfs.disks[1] / "sdb1"
    raid = sysfs.stacked("md0", "9:0", first, second)
    sysfs.place(tmp_path, sysfs.stacked("dm-0", "253:0", raid, first))
    assert whole_disks(tmp_path, sysfs.block) == ["8:0", "8:16"]


def test_a_file_system_without_a_device(sysfs: Sysfs) -> None:
    with pytest.raises(NoDevice, match="/proc is on proc, not on a block device"):
        whole_disks(Path("/proc"), sysfs.block)


def test_a_missing_path(sysfs: Sysfs, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        whole_disks(tmp_path / "none", sysfs.block)
