"""Lists of cores in the format of the kernel ("List format" in cpuset(7)): `0-1,3`."""

import re
from collections.abc import Iterable

MAX_CORE = 8_191
"""The highest core number: NR_CPUS of the kernel is at most 8,192."""

_PART = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", re.ASCII)


def parse(text: str) -> frozenset[int]:
    """Return the cores of a list; an empty list has no cores.

    Raises:
        ValueError: the list is not valid; the message is for the user.
    """
    found: set[int] = set()
    for part in text.split(",") if text else ():
        match = _PART.fullmatch(part)
        if not match:
            raise ValueError(f"{part[:20]!r} is neither a core nor a range of cores such as 0-3")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise ValueError(f"{part} ends before it begins; use {last}-{first}")
        if last > MAX_CORE:
            raise ValueError(f"core {last} is above the highest core number {MAX_CORE}")
        found.update(range(first, last + 1))
    return frozenset(found)


def to_text(cores: Iterable[int]) -> str:
    """Return the list in the kernel's format: sorted, with as few ranges as possible."""
    ranges: list[list[int]] = []
    for core in sorted(cores):
        if ranges and core == ranges[-1][1] + 1:
            ranges[-1][1] = core
        else:
            ranges.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
