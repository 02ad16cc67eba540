"""Which whole disks a file lies on: the devices that `io.max` can limit.

`io.max` takes whole disks only, so a partition stands for its disk, and a device-mapper or md device for
the disks below it. Everything is read from /sys/dev/block (the kernel's
Documentation/ABI/stable/sysfs-block).
"""

import os
import stat
from pathlib import Path

from jobworkerd.cgroup.mounts import Mount, mounts

SYSFS_BLOCK = Path("/sys/dev/block")


class NoDevice(LookupError):
    """Raised when a path is on no block device, such as on a tmpfs; the text says what it is on."""


def whole_disks(path: Path, sysfs: Path = SYSFS_BLOCK) -> list[str]:
    """Returns the disks under a path, or behind a device file, each as `major:minor`.

    Raises:
        NoDevice: there is none.
        OSError: there is no such path.
    """
    found = path.stat()
    device = found.st_rdev if stat.S_ISBLK(found.st_mode) else found.st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    if not (sysfs / number).exists():
        number = _device_of_mount(path, number, sysfs)
    return sorted(set(_disks(sysfs / number)))


def _device_of_mount(path: Path, number: str, sysfs: Path) -> str:
    """Returns the device behind a file system with a number of its own, as btrfs has."""
    mount = next((mount for mount in reversed(mounts()) if mount.device == number), None)
    source = Path(mount.source) if mount else None
    if source and source.is_absolute() and source.exists() and stat.S_ISBLK((info := source.stat()).st_mode):
        found = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
        if (sysfs / found).exists():
            return found
    raise NoDevice(f"{path} is on {_name(mount)}, which is no block device")


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
