"""The I/O limits: `io.max`, bytes and operations a second to read and to write, on whole disks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.devices import NoDevice, whole_disks
from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "io"
BPS = "max_io_bps"
IOPS = "max_io_iops"
FILE = "io.max"

NO_MAX = "this kernel's io controller has no io.max; boot one with CONFIG_BLK_DEV_THROTTLING"

_NONE = "max"


def apply_bps(cgroup: Path, limits: Limits, paths: Sequence[Path]) -> AppliedLimit:
    """Sets the limit on bytes, none if it is 0, for the disks under the paths; as `apply_iops`."""
    rate = limits.max_io_bps or _NONE
    return _apply(cgroup, BPS, {"rbps": str(rate), "wbps": str(rate)}, paths)


def apply_iops(cgroup: Path, limits: Limits, paths: Sequence[Path]) -> AppliedLimit:
    """Sets the limit on operations, none if it is 0, for the disks under the paths.

    Returns what the kernel made of it.

    Raises:
        OSError: the kernel refused it.
    """
    rate = limits.max_io_iops or _NONE
    return _apply(cgroup, IOPS, {"riops": str(rate), "wiops": str(rate)}, paths)


def _apply(cgroup: Path, limit: str, rates: Mapping[str, str], paths: Sequence[Path]) -> AppliedLimit:
    if not (cgroup / FILE).exists():
        return AppliedLimit(limit=limit, in_force=False, reason=NO_MAX)
    disks, reason = _disks(paths)
    lifted = set(rates.values()) == {_NONE}
    for disk in disks:
        # The keys that are not named keep what they have ("nested keyed" on the kernel's page).
        files.write(cgroup, FILE, " ".join([disk, *(f"{key}={rate}" for key, rate in rates.items())]))
    value = files.read(cgroup, FILE)
    if lifted:
        reason = ""  # of what has no limit nobody need know that it could have none
    if not reason and (refused := [disk for disk in disks if not _holds(value, disk, rates)]):
        reason = f"the kernel did not take the limit for {', '.join(refused)}"
    value = "; ".join(value.splitlines())
    return AppliedLimit(limit=limit, in_force=not reason, file=FILE, value=value, reason=reason)


def part(limit: str, value: str) -> str:
    """Returns what `io.max`, which two limits share, holds of one of them."""
    keys = {BPS: ("rbps", "wbps"), IOPS: ("riops", "wiops")}[limit]
    lines = [line.split() for line in value.replace(";", "\n").splitlines()]
    own = {disk: [pair for pair in pairs if pair.startswith(keys)] for disk, *pairs in lines}
    limiting = {disk: pairs for disk, pairs in own.items() if any(not p.endswith(_NONE) for p in pairs)}
    return "; ".join(" ".join([disk, *pairs]) for disk, pairs in limiting.items())


def _holds(value: str, disk: str, rates: Mapping[str, str]) -> bool:
    """True if `io.max` has these rates for a disk; one without any limit has no line in it."""
    for line in value.splitlines():
        number, *pairs = line.split()
        if number == disk:
            return rates.items() <= dict(pair.split("=", 1) for pair in pairs).items()
    return set(rates.values()) == {_NONE}


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
            if is_exhaustion(error):
                raise
            reason = reason or f"{path} has no device ({error.strerror})"
    return sorted(set(disks)), reason


def stat(cgroup: Path) -> dict[str, int]:
    """Returns the bytes and operations over all devices, under the names of `Usage`."""
    names = {
        "rbytes": "io_read_bytes",
        "wbytes": "io_write_bytes",
        "rios": "io_read_count",
        "wios": "io_write_count",
    }
    try:
        lines = files.read(cgroup, "io.stat").splitlines()
    except FileNotFoundError:
        return {}
    devices = [dict(pair.split("=", 1) for pair in line.split()[1:] if "=" in pair) for line in lines]
    return {ours: sum(int(each.get(theirs, 0)) for each in devices) for theirs, ours in names.items()}
