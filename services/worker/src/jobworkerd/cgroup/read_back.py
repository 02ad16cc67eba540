"""What the kernel holds now of the limits that the server set: something else may have changed them since."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from msgspec.structs import replace

from jobworkerd.cgroup import files, io, memory
from jobworkerd.model import AppliedLimit

_SHOWN_BY: Mapping[str, str] = MappingProxyType({"cpuset.cpus": "cpuset.cpus.effective"})
"""The file that has a limit's value, where that is not the file that it was written to."""

_BESIDE: Mapping[str, Mapping[str, str]] = MappingProxyType({memory.LIMIT: memory.BESIDE})
"""Files whose values are part of a limit, and those values."""


def read_back(cgroup: Path, applied: Iterable[AppliedLimit]) -> tuple[AppliedLimit, ...]:
    """Returns the limits with the kernel's present values; one that was changed is not in force.

    Raises:
        OSError: the host is exhausted.
    """
    return tuple(_now(cgroup, limit) if limit.in_force and limit.value else limit for limit in applied)


def _now(cgroup: Path, limit: AppliedLimit) -> AppliedLimit:
    try:
        value = "; ".join(files.read(cgroup, _SHOWN_BY.get(limit.file, limit.file)).splitlines())
    except FileNotFoundError:
        reason = f"{limit.file} is gone: something disabled its controller for the jobs' cgroups"
        return replace(limit, in_force=False, value="", reason=reason)
    for file, wanted, present in _expected(cgroup, limit, value):
        if present != wanted:
            reason = f"something changed {file} from {wanted!r} to {present!r}; set it again with UpdateJob"
            return replace(limit, in_force=False, value=value, reason=reason)
    return replace(limit, value=value)


def _expected(cgroup: Path, limit: AppliedLimit, value: str) -> Iterator[tuple[str, str, str]]:
    """Yields each file that the limit depends on, its value as it was set, and its present value."""
    if limit.file == io.FILE:
        yield limit.file, io.part(limit.limit, limit.value), io.part(limit.limit, value)
    else:
        yield limit.file, limit.value, value
    for file, wanted in _BESIDE.get(limit.limit, {}).items():
        yield file, wanted, files.read_if_any(cgroup, file, wanted)
