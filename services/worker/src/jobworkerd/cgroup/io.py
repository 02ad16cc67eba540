"""The I/O limits: `io.max`, bytes and operations per second for reads and for writes, on whole disks."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from jobworkerd.cgroup import files
from jobworkerd.cgroup.devices import NoDevice, whole_disks
from jobworkerd.cgroup.limit import Limit, OptionalFile
from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.model import AppliedLimit, Limits

CONTROLLER = "io"
FILE = "io.max"

NO_MAX = "this kernel's io controller has no io.max; boot a kernel with CONFIG_BLK_DEV_THROTTLING"

_UNLIMITED = "max"
_OPTIONAL = OptionalFile(FILE, "io.stat", NO_MAX)


def _set_rates(
    name: str, keys: tuple[str, str], cgroup: Path, limits: Limits, io_paths: Sequence[Path]
) -> AppliedLimit:
    """Set one limit for the disks of all paths. `keys` are its keys in `io.max`."""
    if not (cgroup / FILE).exists():
        return AppliedLimit(limit=name, in_force=False, reason=NO_MAX)
    rates = dict.fromkeys(keys, str(getattr(limits, name) or _UNLIMITED))
    disks, reason = _disks(io_paths)
    for disk in disks:
        # Keys that are not written keep their values ("nested keyed" on the kernel's page).
        files.write(cgroup, FILE, " ".join([disk, *(f"{key}={rate}" for key, rate in rates.items())]))
    value = files.read(cgroup, FILE)
    if not getattr(limits, name):
        reason = ""  # jobs without an I/O limit do not report missing devices
    if not reason and (refused := [disk for disk in disks if not _holds(value, disk, rates)]):
        reason = f"the kernel did not accept the limit for {', '.join(refused)}"
    value = "; ".join(value.splitlines())
    return AppliedLimit(limit=name, in_force=not reason, file=FILE, value=value, reason=reason)


def _own_part(keys: tuple[str, str], value: str) -> str:
    """Return the part of `io.max` that belongs to the limit with these keys."""
    lines = [line.split() for line in value.replace(";", "\n").splitlines()]
    own = {disk: [pair for pair in pairs if pair.startswith(keys)] for disk, *pairs in lines}
    limiting = {disk: pairs for disk, pairs in own.items() if any(not p.endswith(_UNLIMITED) for p in pairs)}
    return "; ".join(" ".join([disk, *pairs]) for disk, pairs in limiting.items())


def _rate_limit(name: str, keys: tuple[str, str]) -> Limit:
    return Limit(
        name, CONTROLLER, partial(_set_rates, name, keys), _OPTIONAL, own_part=partial(_own_part, keys)
    )


MAX_IO_BPS = _rate_limit("max_io_bps", ("rbps", "wbps"))
MAX_IO_IOPS = _rate_limit("max_io_iops", ("riops", "wiops"))
LIMITS = (MAX_IO_BPS, MAX_IO_IOPS)


def _holds(value: str, disk: str, rates: Mapping[str, str]) -> bool:
    """Return whether `io.max` has these rates for a disk. A disk without a limit has no line."""
    for line in value.splitlines():
        number, *pairs = line.split()
        if number == disk:
            return rates.items() <= dict(pair.split("=", 1) for pair in pairs).items()
    return set(rates.values()) == {_UNLIMITED}


def _disks(paths: Sequence[Path]) -> tuple[list[str], str]:
    """Return the disks, and the reason why a path has no disk (empty if all have one)."""
    disks: list[str] = []
    reason = ""
    for path in paths:
        try:
            disks += whole_disks(path)
        except NoDevice as error:
            reason = reason or f"{error}; use a working directory on a disk"
        except OSError as error:
            if is_exhaustion(error):
                raise
            reason = reason or f"{path} has no device ({error.strerror})"
    return sorted(set(disks)), reason


def stat(cgroup: Path) -> dict[str, int]:
    """Return bytes and operations over all devices as fields of `Usage`."""
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
