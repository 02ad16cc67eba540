"""Parses the mounts and cgroups of this process from the files of proc(5)."""

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
    """Return all mounts, oldest first."""
    return [_parse(line) for line in (proc / "self/mountinfo").read_text().splitlines()]


def cgroup2_mount(proc: Path = Path("/proc")) -> Path | None:
    """Return the cgroup v2 mount: `/sys/fs/cgroup`, or `…/unified` on a hybrid host."""
    points = [mount.point for mount in mounts(proc) if mount.filesystem == "cgroup2"]
    return points[0] if points else None


def own_cgroup(proc: Path = Path("/proc")) -> str:
    """Return the cgroup of this process as a path from the mount, such as `/user.slice`; see cgroups(7)."""
    for line in (proc / "self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::")
    return "/"


def v1_controllers(proc: Path = Path("/proc")) -> frozenset[str]:
    """Return the controllers of cgroup v1 hierarchies, which cgroup v2 cannot use."""
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
    """Decode the octal escapes of white space and backslashes; see proc(5)."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
