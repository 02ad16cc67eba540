"""The I/O limit: `io.max`, bytes a second to read and to write, on whole disks."""

from collections.abc import Sequence
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.devices import NoDevice, whole_disks
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "io"
LIMIT = "max_io_bps"


def is_set(limits: Limits) -> bool:
    """True if there is something to limit."""
    return limits.max_io_bps > 0


def apply(cgroup: Path, limits: Limits, paths: Sequence[Path]) -> AppliedLimit:
    """Sets the limit on the disks under the paths and returns what the kernel made of it.

    Raises:
        OSError: the kernel refused it.
    """
    disks, reason = _disks(paths)
    bps = limits.max_io_bps
    for disk in disks:
        files.write(cgroup, "io.max", f"{disk} rbps={bps} wbps={bps}")
    value = files.read(cgroup, "io.max")
    limited = {line.split()[0] for line in value.splitlines() if f"rbps={bps} wbps={bps}" in line}
    if not reason and (refused := set(disks) - limited):
        reason = f"the kernel did not take the limit for {', '.join(sorted(refused))}"
    value = "; ".join(value.splitlines())
    return AppliedLimit(limit=LIMIT, in_force=not reason, file="io.max", value=value, reason=reason)


def _disks(paths: Sequence[Path]) -> tuple[list[str], str]:
    """Returns the disks, and why a path has none (empty if each has one)."""
    disks: list[str] = []
    reason = ""
    for path in paths:
        try:
            disks += whole_disks(path)
        except NoDevice as error:
            reason = reason or f"{error}; choose a working directory on a disk"
        except OSError as error:
            reason = reason or f"{path} has no device ({error.strerror})"
    return disks, reason


def stat(cgroup: Path) -> dict[str, int]:
    """Returns the bytes read and written over all devices, under the names of `Usage`."""
    try:
        lines = files.read(cgroup, "io.stat").splitlines()
    except FileNotFoundError:
        return {}
    read = written = 0
    for line in lines:
        fields = dict(pair.split("=", 1) for pair in line.split()[1:] if "=" in pair)
        read += int(fields.get("rbytes", 0))
        written += int(fields.get("wbytes", 0))
    return {"io_read_bytes": read, "io_write_bytes": written}
