"""Reads applied limits again, because another program may have changed them since."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from jobworkerd.cgroup import files
from jobworkerd.cgroup.limit import Limit
from jobworkerd.cgroup.limits import LIMITS
from jobworkerd.model import AppliedLimit


def read_back(cgroup: Path, applied: Iterable[AppliedLimit]) -> tuple[AppliedLimit, ...]:
    """Return the limits with their current values. A limit that was changed is not in force.

    Raises:
        OSError: the host is exhausted.
    """
    return tuple(_current(cgroup, limit) if limit.in_force and limit.value else limit for limit in applied)


def _current(cgroup: Path, applied: AppliedLimit) -> AppliedLimit:
    limit = LIMITS[applied.limit]
    try:
        value = "; ".join(files.read(cgroup, limit.shown_by or applied.file).splitlines())
    except FileNotFoundError:
        reason = f"{applied.file} is missing: another program disabled its controller for the jobs' cgroups"
        return replace(applied, in_force=False, value="", reason=reason)
    for file, wanted, present in _comparisons(cgroup, limit, applied, value):
        if present != wanted:
            reason = f"another program changed {file} from {wanted!r} to {present!r}; reset it with UpdateJob"
            return replace(applied, in_force=False, value=value, reason=reason)
    return replace(applied, value=value)


def _comparisons(
    cgroup: Path, limit: Limit, applied: AppliedLimit, value: str
) -> Iterator[tuple[str, str, str]]:
    """Yield each file of the limit, the value that was set, and the current value."""
    yield applied.file, limit.own_part(applied.value), limit.own_part(value)
    for file, wanted in limit.companions.items():
        yield file, wanted, files.read_if_any(cgroup, file, wanted)
