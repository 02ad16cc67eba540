"""What the kernel says of the mounts and cgroups of this process: the files of proc(5), parsed."""

import re
from pathlib import Path
from typing import NamedTuple

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of /proc/self/mountinfo; `device` is `major:minor`."""

    device: str
    point: Path
    filesystem: str
    source: str


def mounts(proc: Path = Path("/proc")) -> list[Mount]:
    """Returns all mounts, in the order in which they were made."""
    return [_parse(line) for line in (proc / "self/mountinfo").read_text().splitlines()]


def cgroup2_mount(proc: Path = Path("/proc")) -> Path | None:
    """Returns where cgroup v2 is mounted: `/sys/fs/cgroup`, or `…/unified` on a hybrid host."""
    points = [mount.point for mount in mounts(proc) if mount.filesystem == "cgroup2"]
    return points[0] if points else None


def own_cgroup(proc: Path = Path("/proc")) -> str:
    """Returns this process's cgroup v2 as a path from the mount, such as `/user.slice`; see cgroups(7)."""
    for line in (proc / "self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::")
    return "/"


def v1_controllers(proc: Path = Path("/proc")) -> frozenset[str]:
    """Returns the controllers that cgroup v1 hierarchies hold, which v2 can therefore not have."""
    names: set[str] = set()
    for line in (proc / "self/cgroup").read_text().splitlines():
        hierarchy, controllers, _ = line.split(":", 2)
        if hierarchy != "0":
            names.update(controllers.split(","))
    return frozenset("io" if name == "blkio" else name for name in names if "=" not in name)


def _parse(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    device, _, point = left.split()[2:5]
    filesystem, source = right.split()[:2]
    return Mount(device, Path(_unescape(point)), filesystem, _unescape(source))


def _unescape(field: str) -> str:
    """Undoes the octal escapes of blanks and the like that proc(5) has in a path."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
