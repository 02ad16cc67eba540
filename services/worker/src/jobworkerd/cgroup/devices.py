"""Finds the whole disks of a file. `io.max` limits whole disks only.

A partition is mapped to its disk, and a device-mapper or md device to the disks below it. The information
comes from /sys/dev/block (Documentation/ABI/stable/sysfs-block).
"""

import os
import stat
from pathlib import Path

from jobworkerd.cgroup.mounts import Mount, mounts

SYSFS_BLOCK = Path("/sys/dev/block")


class NoDevice(LookupError):
    """Raised when a path is not on a block device. The message names its file system."""


def whole_disks(path: Path, sysfs: Path = SYSFS_BLOCK) -> list[str]:
    """Return the disks of a path or of a device file, each as `major:minor`.

    Raises:
        NoDevice: the path is not on a block device.
        OSError: the path does not exist or cannot be read.
    """
    found = path.stat()
    device = found.st_rdev if stat.S_ISBLK(found.st_mode) else found.st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    if not (sysfs / number).exists():
        number = _device_of_mount(path, number, sysfs)
    return sorted(set(_disks(sysfs / number)))


def _device_of_mount(path: Path, number: str, sysfs: Path) -> str:
    """Return the device of a file system that has its own device number, such as btrfs."""
    mount = next((mount for mount in reversed(mounts()) if mount.device == number), None)
    source = Path(mount.source) if mount else None
    if source and source.is_absolute() and source.exists() and stat.S_ISBLK((info := source.stat()).st_mode):
        found = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
        if (sysfs / found).exists():
            return found
    raise NoDevice(f"{path} is on {_name(mount)}, not on a block device")


def _name(mount: Mount | None) -> str:
    return mount.filesystem if mount else "a file system"


def _disks(device: Path) -> list[str]:
    device = device.resolve()
    if (device / "partition").exists():
        return _disks(device.parent)
    slaves = device / "slaves"
    below = sorted(slaves.iterdir()) if slaves.is_dir() else []
    if below:
        return [disk for slave in below for disk in _disks(slave)]
    return [(device / "dev").read_text().strip()]
